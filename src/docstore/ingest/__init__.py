"""From a source to chunks and vectors: read, extract, chunk, embed, add. One file each."""
