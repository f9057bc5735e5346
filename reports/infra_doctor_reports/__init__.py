"""Report formats, one file or folder per format; each module offers `FORMATS`."""
