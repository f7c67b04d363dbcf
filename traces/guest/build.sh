#!/bin/sh
# Builds the guest programs with the cross compiler of Debian's gcc-powerpc64-linux-gnu.
set -eu
cd "$(dirname "$0")"
for name in lock pages tlbie; do
    powerpc64-linux-gnu-gcc -mabi=elfv2 -mcpu=power8 -msoft-float -mno-vsx -mno-altivec -mcmodel=medium \
        -O2 -Wall -Wno-parentheses -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables \
        -nostdlib -static -Wl,-z,max-page-size=4096 -Wl,--build-id=none -Wl,-s,--no-warn-rwx-segments -T guest.ld \
        -o "$name.elf" start.S "$name.c"
done
