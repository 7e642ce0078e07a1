"""Research on drawn shapes: a project that uses harmoclip_mm."""
