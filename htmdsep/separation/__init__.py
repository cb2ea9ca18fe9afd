"""One song: blocks or a file in, stems out."""
