#!/bin/sh
# Makes the root file system of a Debian suite as FOLDER/root.tar: sh -c SCRIPT debootstrap SUITE MIRROR FOLDER
set -eu
suite=$1 mirror=$2 folder=$3
exec 2>&1
root=$folder/root
debootstrap --force-check-gpg --variant=minbase --include=ca-certificates "$suite" "$root" "$mirror"
# Nothing of the host, and nothing that a compiler does not need.
rm -f "$root"/etc/hostname "$root"/etc/resolv.conf
: > "$root"/etc/machine-id
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*
rm -rf "$root"/usr/share/man "$root"/usr/share/info "$root"/usr/share/locale "$root"/var/log/*
mkdir "$root"/usr/share/man
find "$root"/usr/share/doc -type f ! -name copyright -delete
tar --numeric-owner --sort=name --one-file-system -C "$root" --exclude='./dev/*' --exclude='./proc/*' \
    --exclude='./sys/*' --exclude='./run/*' -cf "$folder"/root.tar .
rm -rf "$root"
