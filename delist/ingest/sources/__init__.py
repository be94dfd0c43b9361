"""Sources of images: a folder, JSON lines, Parquet tables, WARC archives."""
