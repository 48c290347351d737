driver=$!
trap '{{ "stopped=yes; " if system == "pbs" and requeue }}kill -TERM "$driver" 2>/dev/null' TERM
wait "$driver"
code=$?
while kill -0 "$driver" 2>/dev/null; do # a signal ends `wait`, not the driver
    wait "$driver"
    code=$?
done
{% if mode == "allocation" %}
end_cluster
{% endif %}
((code == 143)) && code=75 # ended before it could tell
next=
{% if requeue %}
if ((code == 75)); then
    next=$(another_turn) || next=
fi
{% if system == "slurm" %}
[[ $next != "$id" ]] || exit "$code" # Slurm ends this script now
{% endif %}
{% endif %}
result "$code" "$next"
say "exit code $code${next:+, job $next goes on}"
exit "$code"
