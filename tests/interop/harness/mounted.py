"""A mount namespace in which one file of the host is another one, for the command behind these words."""

# Bound over the file, so that it keeps its inode: what is written to it later is seen in the namespace.
SCRIPT = 'mount --make-rprivate / && mount --bind "$0" "$1" && shift && exec "$@"'


def with_file(path, place):
    """The words in front of a command that is to see the file `path` at `place`."""
    return ["unshare", "--mount", "sh", "-c", SCRIPT, str(path), place]
