"""The hardware contract: shapes, layout in the memories, images, protocol."""
