"""Frozen data and pure logic that every process shares; knows neither Textual, torch nor a device."""
