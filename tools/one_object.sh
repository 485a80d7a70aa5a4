#!/bin/sh
# one_object.sh -- Makes libweft.a of one object whose inner names are local.
#
# In a plain archive every function that one file of weft calls in another is a
# global name, which may collide with, or take the place of, one of the user's
# program (warn, grow, ...). Linked into one object, all but the public ones
# can be made local.
#
#   one_object.sh CC OBJCOPY AR INPUT.a OUTPUT.a OBJECT.o
set -eu
cc=$1 objcopy=$2 ar=$3 input=$4 output=$5 object=$6

$cc -r -nostdlib -o "$object" -Wl,--whole-archive "$input"
$objcopy --localize-hidden "$object"
rm -f "$output"
$ar rcs "$output" "$object"
