#!/usr/bin/env python3
# shimmed.py -- Prints the names of the functions that a shim.c stands in for.
import re
import sys
from pathlib import Path


def shimmed(path):
    calls = re.search(r"#define CALLS\(X\)(.*?)\n\n", Path(path).read_text(),
                      re.DOTALL)
    return re.findall(r"X\((\w+)\)", calls[1])


if __name__ == "__main__":
    print("\n".join(shimmed(sys.argv[1])))
