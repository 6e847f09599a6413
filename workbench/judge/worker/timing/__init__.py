"""Timing as judge.md's section "Timing (GPU)" has it: everything but the launches.

`slots` plans a block, the timing loop on the device runs it, `blocks` turns it into a log ratio or drops it, `looks` says
whether to go on, `comparison` concludes. `margin` and `calibration` give the delta, `clocks` the second clock's check,
`rescaled` the warning that speed depends on the data. All of it is pure and knows neither torch nor a device.
"""
