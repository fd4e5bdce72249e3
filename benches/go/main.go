// The Go peer of tasklets' benchmarks: one benchmark, one line.
//
//	go-peer BENCH COUNT
//
// Every benchmark does what its namesake in ../src does; the process ends with the measurement,
// so goroutines that still wait are simply left behind.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A measurement that takes longer than this is stuck.
const limit = 180 * time.Second

var benches = map[string]func(count int) string{
	"stream":            stream,
	"pingpong":          pingpong,
	"commstime":         commstime,
	"ring1000":          func(hops int) string { return ring(1000, hops) },
	"ring10000":         func(hops int) string { return ring(10000, hops) },
	"sieve2000":         sieve,
	"spawn":             spawn,
	"yield":             yields,
	"select2":           select2,
	"select8":           select8,
	"select64":          select64,
	"select64_one":      select64One,
	"memory10000":       memory,
	"memory100000":      memory,
	"memory1000000":     memory,
	"timers100k":        timers,
	"cross_thread":      func(count int) string { return across(1, count) },
	"cross_thread_many": func(count int) string { return across(100, count) },
	"pipe1":             func(count int) string { return stages(1, count) },
	"pipe4":             func(count int) string { return stages(4, count) },
	"pipe16":            func(count int) string { return stages(16, count) },
	"batch":             batch,
	"ordered":           ordered,
	"tcp1":              tcp(1, 1),
	"tcp64":             tcp(64, 64),
	"tcp1000":           tcp(1000, 1000),
	"tcp100of10000":     tcp(10000, 100),
	"http64":            web,
}

func main() {
	runtime.GOMAXPROCS(1)
	time.AfterFunc(limit, func() { fail("took longer than", limit) })
	if len(os.Args) != 3 {
		fail("usage: go-peer BENCH COUNT")
	}
	bench, count := benches[os.Args[1]], 0
	if bench == nil {
		fail("unknown benchmark", os.Args[1])
	}
	if n, err := strconv.Atoi(os.Args[2]); err == nil && n > 0 {
		count = n
	} else {
		fail("not a count:", os.Args[2])
	}
	fmt.Printf("bench=%s peer=go %s\n", os.Args[1], bench(count))
}

func fail(what ...any) {
	fmt.Fprintln(os.Stderr, what...)
	os.Exit(1)
}

// per says how many nanoseconds each of ops operations took since start.
func per(start time.Time, ops int) string {
	return fmt.Sprintf("ns=%.3f", float64(time.Since(start).Nanoseconds())/float64(ops))
}

func sumBelow(count int) int { return count * (count - 1) / 2 }

func check(sum, expected int) {
	if sum != expected {
		fail("got", sum, "instead of", expected)
	}
}

// before is a moment before something grows.
type before struct {
	resident, pageTables float64
	at                   time.Time
}

func beforeNow() before { return before{residentBytes(), pageTableBytes(), time.Now()} }

func (b before) sample(count int) string {
	line, n := per(b.at, count), float64(count)
	resident, tables := residentBytes()-b.resident, pageTableBytes()-b.pageTables
	return fmt.Sprintf("%s bytes=%.3f page_table_bytes=%.3f", line, resident/n, tables/n)
}

func residentBytes() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		fail(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		fail(err)
	}
	return float64(pages * os.Getpagesize())
}

func pageTableBytes() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "VmPTE:" {
			kib, err := strconv.Atoi(words[1])
			if err != nil {
				fail(err)
			}
			return float64(kib * 1024)
		}
	}
	fail("no VmPTE line")
	return 0
}

// cpuTime is the processor time of this process so far.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
