# debian.py -- Fetches and unpacks packages of a foreign Debian architecture.
#
# Nothing is installed. apt works on a state directory of its own that knows
# only the foreign architecture, but with the sources, keys and proxy of this
# machine, so the system's packages and architectures stay as they are.
import os
import shutil
import subprocess

CONFIG = '''\
APT::Architecture "{arch}";
#clear APT::Architectures;
APT::Architectures {{ "{arch}"; }};
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
'''


class Unavailable(Exception):
    """The archive cannot be reached, or does not have the package."""


class Archive:
    def __init__(self, root, arch):
        self.root = os.path.abspath(root)
        self.arch = arch
        self.config = os.path.join(self.root, 'apt.conf')

    def update(self):
        """Loads the package lists; what was there before is forgotten."""
        shutil.rmtree(self.root, ignore_errors=True)
        for part in 'state/lists/partial', 'cache/archives/partial', 'debs':
            os.makedirs(os.path.join(self.root, part))
        open(os.path.join(self.root, 'status'), 'w').close()
        with open(self.config, 'w') as f:
            f.write(CONFIG.format(arch=self.arch, root=self.root))
        self._apt('apt-get', 'update')

    def newest_of(self, meta):
        """The real package behind `meta`, which only depends on it."""
        listed = self._apt('apt-cache', 'search', '--names-only', f'^{meta}$')
        if not listed.strip():
            raise Unavailable(f'apt-get update brought no {meta}, check the '
                              'network and /etc/apt')
        for line in self._apt('apt-cache', 'depends', meta).splitlines():
            word, _, name = line.strip().partition(' ')
            if word == 'Depends:':
                return name
        raise Unavailable(f'{meta} depends on nothing')

    def unpack(self, package, target):
        """Unpacks all files of `package` below the directory `target`."""
        debs = os.path.join(self.root, 'debs')
        before = set(os.listdir(debs))
        self._apt('apt-get', 'download', package, cwd=debs)
        new = set(os.listdir(debs)) - before
        if len(new) != 1:
            raise Unavailable(f'{package}: {len(new)} files downloaded')
        deb = os.path.join(debs, new.pop())
        self._call(['dpkg-deb', '-x', deb, target])
        os.remove(deb)

    def _apt(self, tool, *words, cwd=None):
        return self._call([tool, '-c', self.config, *words], cwd)

    @staticmethod
    def _call(command, cwd=None):
        try:
            done = subprocess.run(command, cwd=cwd, text=True,
                                  stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise Unavailable(str(e)) from e
        if done.returncode:
            last = (done.stderr.strip() or 'no message').splitlines()[-1]
            raise Unavailable(f'{" ".join(command[:1] + command[3:])}: {last}')
        return done.stdout
