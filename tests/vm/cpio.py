# cpio.py -- Writes the initramfs: a cpio archive in the kernel's "newc" form.
#
# The kernel unpacks it into an empty file system. Parents must come before
# children, so a file's directories are written when it is the first to need
# them. Everything belongs to root, whoever packs it, and needs no rights here.
import os
import stat


class Archive:
    def __init__(self, path):
        self.out = open(path, 'wb')
        self.seen = {'/'}
        self.inode = 0

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self._entry('TRAILER!!!', 0, b'')
        self.out.close()

    def file(self, path, source, mode=0o755):
        """Puts the file `source` of the host at `path`."""
        with open(source, 'rb') as f:
            self.text(path, f.read(), mode)

    def text(self, path, data, mode=0o644):
        if self._is_new(path):
            self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path, target):
        if self._is_new(path):
            self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def directory(self, path):
        if self._is_new(path):
            self._entry(path, stat.S_IFDIR | 0o755, b'')

    def device(self, path, major, minor):
        if self._is_new(path):
            self._entry(path, stat.S_IFCHR | 0o600, b'', (major, minor))

    def _is_new(self, path):
        if path in self.seen:
            return False
        self.directory(os.path.dirname(path))
        self.seen.add(path)
        return True

    def _entry(self, path, mode, data, device=(0, 0)):
        name = path.lstrip('/').encode() + b'\0'
        self.inode += 1
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device,
                  len(name), 0)
        head = b'070701' + b''.join(b'%08x' % f for f in fields) + name
        self.out.write(head + bytes(-len(head) % 4))
        self.out.write(data + bytes(-len(data) % 4))
