# man.py -- Makes the man pages of section 3 from the public headers.
#
# A header's comment above a function is its manual: man.py only sets it. One
# page a function; a comment that serves several functions in a row ("The calls
# below ...") is set in each of them.
#
#   man.py --list HEADER...      the names of the pages, one a line
#   man.py OUTDIR HEADER...      writes them
import re
import sys
import textwrap
from pathlib import Path

# Structs that are passed by value and not looked into.
HANDLES = ("weft_task", "weft_fd")

FUNCTION = re.compile(r"WEFT_API\s+([^;]*?)\b(weft_\w+)\(([^;]*)\);", re.S)


def blocks(text):
    """Yields (comment lines, code) for each paragraph of a header."""
    comment, code = [], []
    for line in text.split("\n") + [""]:
        if not line.strip():
            if comment or code:
                yield comment, "\n".join(code)
            comment, code = [], []
        elif line.startswith("//") and not code:
            comment.append(line[2:].removeprefix(" "))
        else:
            code.append(line)


def functions(path):
    """Yields (name, prototype, own comment, shared comment)."""
    shared = []
    for comment, code in blocks(path.read_text()):
        found = FUNCTION.search(code)
        if found:
            prototype = " ".join(found.group(0).split())
            yield (found.group(2), prototype.removeprefix("WEFT_API "),
                   comment, shared)
        if comment and comment[0].startswith("The calls below"):
            shared = comment
        elif not found:
            shared = []


def structures(path):
    """The structs of a header whose fields are public, by name."""
    whole = re.finditer(r"^typedef struct (weft_\w+) \{\n.*?^\} \1;$",
                        path.read_text(), re.S | re.M)
    return {m[1]: m[0] for m in whole
            if "opaque" not in m[0] and m[1] not in HANDLES}


def escape(line):
    line = line.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + line if line[:1] in ".'" else line


def sentence(comment):
    text = " ".join(comment)
    return re.split(r"(?<=[\w)`])[.:;](?:\s|$)", text, maxsplit=1)[0]


def split_errors(comment):
    for i, line in enumerate(comment):
        if line.startswith("Errors"):
            return comment[:i], comment[i:]
    return comment, []


def wrap_prototype(prototype):
    return textwrap.wrap(prototype, 70, subsequent_indent="    ")


def page(name, prototype, comment, shared, header, structs):
    text, errors = split_errors(comment)
    out = [f'.TH {name} 3 "" "weft" "weft manual"', ".SH NAME",
           f"{name} \\- {escape(sentence(text)[:1].lower())}"
           f"{escape(sentence(text)[1:])}",
           ".SH SYNOPSIS", ".nf", f".B #include <weft/{header}>", ".PP"]
    out += [f".B {escape(line)}" if not line.startswith(" ")
            else f".B \\ \\ \\ \\ {escape(line.strip())}"
            for line in wrap_prototype(prototype)]
    out += [".fi", ".SH DESCRIPTION"] + [escape(line) for line in text]
    if shared and shared is not comment:
        out += [".PP"] + [escape(line) for line in shared]
    if errors:
        errors[0] = errors[0].removeprefix("Errors: ")
        out += [".SH ERRORS"] + [escape(line) for line in errors]
    used = [text for struct, text in structs.items()
            if re.search(rf"\b{struct}\b", prototype)]
    if used:
        out += [".SH STRUCTURES", ".nf"]
        out += [escape(line) for text in used for line in text.split("\n")]
        out += [".fi"]
    return "\n".join(out + [".SH SEE ALSO", ".BR weft (7)", ""])


def main(arguments):
    listing = arguments[:1] == ["--list"]
    headers = [Path(a) for a in arguments[1:]]
    if not headers:
        sys.exit("usage: man.py --list HEADER... | man.py OUTDIR HEADER...")
    structs = {}
    for path in headers:
        structs |= structures(path)
    for path in headers:
        for name, prototype, comment, shared in functions(path):
            if not comment and not shared:
                sys.exit(f"{path}: {name} has no comment to make a page from")
            if listing:
                print(f"{name}.3")
                continue
            target = Path(arguments[0]) / f"{name}.3"
            target.write_text(
                page(name, prototype, comment, shared, path.name, structs))


main(sys.argv[1:])
