#!/bin/sh
# Deletes the files of /volumes/0 that were not used for longest, until it takes up at most so many KiB ($1).
# A compiler cache sets the time of an object's file when it uses it. Prints the KiB before and after.
cd /volumes/0 || exit 1
total=$(du -sk . | cut -f1) || exit 1
echo "before $total"
# In units of 512 bytes, which is what stat counts blocks in.
left=$((total * 2))
limit=$(($1 * 2))
find . -type f -exec stat -c '%Y %b %n' {} + | sort -n | while read -r _ blocks name; do
    [ "$left" -gt "$limit" ] || break
    rm -f -- "$name" && left=$((left - blocks))
done
total=$(du -sk . | cut -f1) || exit 1
echo "after $total"
