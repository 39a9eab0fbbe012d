"""Tests against whoever means harm: documents, arguments and stored files made to break the library."""
