"""The design's words as frozen dataclasses. Nothing here reaches a machine or imports another part of ours."""
