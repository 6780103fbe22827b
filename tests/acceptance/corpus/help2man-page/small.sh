#!/bin/sh
case $1 in
--version) echo "small $(date -r "$0" +%Y%m%d.%H%M%S)" ;;
*) printf 'Usage: small [OPTION]\n\nSays nothing.\n\n  --help     this\n  --version  that\n' ;;
esac
