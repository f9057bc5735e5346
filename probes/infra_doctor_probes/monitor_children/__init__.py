"""What runs in a monitor's child process: the vendor's library, asked again and again, and JSON lines."""
