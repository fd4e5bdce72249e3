# The facts that the example `logstat` prints, in the same order.
$0 !~ /^[^ ]+ [^ ]+ [^ ]+ \[[^\]]+\] "[^ "]+ [^ "]+( HTTP\/[^ "]*)?" [0-9][0-9][0-9] ([0-9]+|-)( "[^"]*" "[^"]*")?$/ {
    malformed++
    next
}
{
    requests++
    hosts[$1]++
    paths[$7]++
    codes[$9]++
    if ($10 != "-") bytes += $10
}
END {
    printf "requests\t%d\nmalformed\t%d\nbytes\t%.0f\n", requests, malformed, bytes
    fflush()
    for (code in codes) print "status\t" code "\t" codes[code] | "sort"
    close("sort")
    top = "LC_ALL=C sort -t'\t' -k2,2nr -k3,3 | head -10"
    for (path in paths) print "path\t" paths[path] "\t" path | top
    close(top)
    for (host in hosts) print "host\t" hosts[host] "\t" host | top
}
