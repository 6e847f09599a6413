"""The screens: the bench itself, its dialogs, the editor and the picker."""
