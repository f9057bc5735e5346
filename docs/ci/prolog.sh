#!/bin/bash
# Slurm Prolog (slurmd, as root): keeps a job off a node whose accelerator stack is broken.
#
# slurmd drains the node and requeues the job when a Prolog exits non-zero. So this one exits with 1 in one case only:
# infra-doctor looked, and found what its policy calls a failure (its exit code 1, and a report that says so: a program
# that cannot start exits with 1 too). Warnings, a wrong policy, a missing program, a device that could not be looked at,
# a full or slow disk, a program that hangs or is killed: each is one line in the log, and the job goes on.
#
# Nothing on a disk that may hang is touched by this shell itself, and it waits for nothing without a bound: it ends after
# INFRA_DOCTOR_TIMEOUT + 5 seconds at the latest, which has to be less than slurm.conf's MessageTimeout (10 by default).

# slurmd gives a Prolog no search path.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

: "${INFRA_DOCTOR:=/opt/infra-doctor/bin/infra-doctor}"  # the program: on a local disk, in an environment of its own
: "${INFRA_DOCTOR_POLICY:=/etc/infra-doctor/node.toml}"  # what a node must be
: "${INFRA_DOCTOR_PYTHON:=}"                             # the Python environment to judge; empty: the node's python3
: "${INFRA_DOCTOR_OFF:=/etc/infra-doctor/off}"           # the off switch: while this file is there, nothing is looked at
: "${INFRA_DOCTOR_TIMEOUT:=4}"                           # whole seconds that the program gives itself

mark="$RANDOM$RANDOM$RANDOM"

# Runs beside this shell, which reads what it prints and may leave it behind. The job's own variables are not the node's.
look() {
    if [ -e "$INFRA_DOCTOR_OFF" ]; then
        printf '\n%s off\n' "$mark"
        return
    fi
    set -- check --policy "$INFRA_DOCTOR_POLICY" --lenient --fail-on fail --timeout "$INFRA_DOCTOR_TIMEOUT" \
        --ascii --no-color ${INFRA_DOCTOR_PYTHON:+--python "$INFRA_DOCTOR_PYTHON"}
    timeout -k 1 "$((INFRA_DOCTOR_TIMEOUT + 1))" env -i PATH="$PATH" LC_ALL=C.UTF-8 "$INFRA_DOCTOR" "$@"
    printf '\n%s %s\n' "$mark" "$?"
}

code=silent status='' verdict='' faults='' talk=''
deadline=$((SECONDS + INFRA_DOCTOR_TIMEOUT + 2))
exec 3< <(exec 2>&1 </dev/null && look)
while ((left = deadline - SECONDS, left > 0)) && IFS= read -r -n 1000 -t "$left" -u 3 line; do
    line="${line//[^[:print:]]/?}"
    if [[ $line == "$mark "* ]]; then
        code="${line#"$mark "}"
        break
    elif [[ -z $status && $line =~ ^[^[:space:]]\ ([A-Z]+)\ +(.*)$ ]]; then
        status="${BASH_REMATCH[1]}" verdict="${BASH_REMATCH[2]%.}"
    elif [[ $status == FAIL && $line =~ ^\ *x\ FAIL\ +(.*)$ ]]; then
        faults+="; ${BASH_REMATCH[1]}"
    elif [[ -z $status && -n $line && $talk != infra-doctor:* ]]; then
        talk="$line"
    fi
done
exec 3<&-

broken=0 level=warning
case "$code:$status" in
    0:?*) level=info said="ok: $verdict" ;;
    1:FAIL) broken=1 level=err said="this node is broken: $verdict$faults" ;;
    off:) level=info said="switched off" ;;
    2:*) said="not judged (wrong policy or usage): $talk" ;;
    124:* | 137:* | silent:*) said="not judged (no answer in time, or killed)" ;;
    126:* | 127:*) said="not judged (cannot be run): $talk" ;;
    *) said="not judged (exit code $code): $talk" ;;
esac
said="infra-doctor: ${said/: infra-doctor: /: }"
said="${said:0:500}"
[ "$SLURM_SCRIPT_CONTEXT" != prolog_task ] || said="print $said" # what a TaskProlog prints is for slurmstepd to read
echo "$said"
timeout -k 1 1 logger -t slurm-prolog -p "daemon.$level" -- "$said" </dev/null >/dev/null 2>&1

exit "$broken"
