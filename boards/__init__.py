"""Boards: one file each, from platform and clock to pins and programmer."""
