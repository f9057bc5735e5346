"""What NVIDIA's own tools print, form by form: one file per form. Pure functions of text; nothing here runs a command.

Each reader takes foreign text of any size, looks at no more than bounded parts of it, never raises on its content, and gives
a value or `Refused` with the reason. `reading.py` tells the forms apart."""
