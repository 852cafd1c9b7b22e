#!/bin/sh
# What each folder below /volumes takes up, in KiB and with its path; `?` for one that cannot be read in full.
for place in /volumes/*; do
    [ -d "$place" ] || continue
    du -sk "$place" 2>/dev/null || echo "? $place"
done
