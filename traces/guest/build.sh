#!/bin/sh
# Builds the guest programs with the cross compiler of Debian's gcc-powerpc64-linux-gnu.
set -eu
cd "$(dirname "$0")"
flags="-mabi=elfv2 -mcpu=power8 -msoft-float -mno-vsx -mno-altivec -mcmodel=medium -O2 -Wall -Wno-parentheses
    -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -nostdlib -static
    -Wl,-z,max-page-size=4096 -Wl,--build-id=none -Wl,-s,--no-warn-rwx-segments"
for name in batch lock pages tlbie; do
    # shellcheck disable=SC2086
    powerpc64-linux-gnu-gcc $flags -T guest.ld -o "$name.elf" start.S "$name.c"
done
# Where Linux would have it too.
# shellcheck disable=SC2086
powerpc64-linux-gnu-gcc $flags -Wl,-Ttext=0x100000,-e,_start -o bench.elf bench.c
chmod 644 ./*.elf
