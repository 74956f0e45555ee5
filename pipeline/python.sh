#!/bin/sh
# Runs the Python of the environment that DVC itself runs in, also when nobody activated it (worker, systemd, cron):
# the nearest ancestor process that is a Python interpreter by its path, else .venv here, else python3.
# RETRIEVAL_PYTHON overrides it. The last argument is the item of the stage that DVC runs (of `extract@gallery`, gallery): it comes from
# the environment, so that no shell reads a name of params.yaml as a command.
set -eu

parent_of() {
    if [ -r "/proc/$1/status" ]; then
        sed -n 's/^PPid:[[:space:]]*//p' "/proc/$1/status"
    else
        ps -o ppid= -p "$1" | tr -d ' '
    fi
}

program_of() {
    if [ -r "/proc/$1/cmdline" ]; then
        tr '\0' '\n' <"/proc/$1/cmdline" | head -n 1
    else
        ps -o command= -p "$1" | cut -d' ' -f1
    fi
}

interpreter() {
    process=$PPID
    while [ "${process:-0}" -gt 1 ]; do
        program=$(program_of "$process")
        case "$program" in
        */python*) if [ -x "$program" ]; then echo "$program"; return; fi ;;
        esac
        process=$(parent_of "$process")
    done
    if [ -x .venv/bin/python ]; then echo .venv/bin/python; else echo python3; fi
}

case "${DVC_STAGE:-}" in
*@*) set -- "$@" "${DVC_STAGE#*@}" ;;
esac

exec "${RETRIEVAL_PYTHON:-$(interpreter)}" "$@"
