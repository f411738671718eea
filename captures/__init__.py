"""Where bytes are kept: capture files, run directories, truth logs (pure file formats)."""
