// The benchmarks, except the selects; each has its namesake in ../src.

package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

func stream(count int) string {
	values, sums := make(chan int), make(chan int)
	start := time.Now()
	go func() {
		for it := 0; it < count; it++ {
			values <- it
		}
		close(values)
	}()
	go func() {
		sum := 0
		for it := range values {
			sum += it
		}
		sums <- sum
	}()
	check(<-sums, sumBelow(count))
	return per(start, count)
}

// passOn sends everything on, each value changed by change.
func passOn(from <-chan int, to chan<- int, change int) {
	for it := range from {
		to <- it + change
	}
}

func pingpong(rounds int) string {
	ping, pong, done := make(chan int), make(chan int), make(chan bool)
	start := time.Now()
	go passOn(ping, pong, 0)
	go func() {
		for it := 0; it < rounds; it++ {
			ping <- it
			check(<-pong, it)
		}
		done <- true
	}()
	<-done
	return per(start, 2*rounds)
}

func commstime(loops int) string {
	a, b, c, d := make(chan int), make(chan int), make(chan int), make(chan int)
	sums := make(chan int)
	start := time.Now()
	go func() {
		a <- 0
		passOn(d, a, 0)
	}()
	go func() {
		for it := range a {
			b <- it
			c <- it
		}
	}()
	go passOn(c, d, 1)
	go func() {
		sum := 0
		for n := 0; n < loops; n++ {
			sum += <-b
		}
		sums <- sum
	}()
	check(<-sums, sumBelow(loops))
	return per(start, 4*loops)
}

func ring(size, hops int) string {
	first := make(chan int)
	last := first
	for n := 1; n < size; n++ {
		next := make(chan int)
		go passOn(last, next, 0)
		last = next
	}
	laps := (hops + size - 1) / size
	var start time.Time
	for it := 0; it <= laps; it++ {
		first <- it
		check(<-last, it)
		if it == 0 {
			start = time.Now()
		}
	}
	return per(start, laps*size)
}

func filter(from <-chan int, to chan<- int, prime int) {
	for it := range from {
		if it%prime != 0 {
			to <- it
		}
	}
}

func sieve(primes int) string {
	numbers, prime := make(chan int), 0
	start := time.Now()
	go func(to chan<- int) {
		for it := 2; ; it++ {
			to <- it
		}
	}(numbers)
	for n := 0; n < primes; n++ {
		prime = <-numbers
		filtered := make(chan int)
		go filter(numbers, filtered, prime)
		numbers = filtered
	}
	elapsed := per(start, 1)
	if primes == 2000 {
		check(prime, 17389)
	}
	return elapsed
}

func spawn(count int) string {
	done := make(chan int)
	start := time.Now()
	for it := 0; it < count; it++ {
		go func(it int) { done <- it }(it)
		check(<-done, it)
	}
	return per(start, count)
}

func yields(count int) string {
	half := (count + 1) / 2
	var both sync.WaitGroup
	both.Add(2)
	start := time.Now()
	for n := 0; n < 2; n++ {
		go func() {
			for it := 0; it < half; it++ {
				runtime.Gosched()
			}
			both.Done()
		}()
	}
	both.Wait()
	return per(start, 2*half)
}

func memory(count int) string {
	never := make(chan int)
	var ready int64
	start := beforeNow()
	for n := 0; n < count; n++ {
		go func() {
			atomic.AddInt64(&ready, 1)
			<-never
		}()
	}
	for atomic.LoadInt64(&ready) < int64(count) {
		runtime.Gosched()
	}
	return start.sample(count)
}

func timers(count int) string {
	var all sync.WaitGroup
	all.Add(count)
	start, cpu := time.Now(), cpuTime()
	for it := 0; it < count; it++ {
		go func(ms time.Duration) {
			time.Sleep(ms * time.Millisecond)
			all.Done()
		}(sleepMs(it))
	}
	all.Wait()
	return fmt.Sprintf("%s cpu_ns=%d", per(start, 1), cpuTime()-cpu)
}

// sleepMs is how long the index-th sleeper sleeps: 1 to 100 ms, the same for every peer.
func sleepMs(index int) time.Duration {
	return time.Duration(1 + (uint64(index)*0x9E3779B97F4A7C15>>32)%100)
}

// across has pairs of goroutines meet on two processors, on all cores of the machine.
func across(pairs, count int) string {
	useAllCores()
	runtime.GOMAXPROCS(2)
	each := (count + pairs - 1) / pairs
	sums := make(chan int, pairs)
	start := time.Now()
	for pair := 0; pair < pairs; pair++ {
		values := make(chan int)
		go func() {
			for it := 0; it < each; it++ {
				values <- it
			}
			close(values)
		}()
		go func() {
			sum := 0
			for it := range values {
				sum += it
			}
			sums <- sum
		}()
	}
	for pair := 0; pair < pairs; pair++ {
		check(<-sums, sumBelow(each))
	}
	return per(start, pairs*each)
}

// useAllCores undoes, for every thread of this process, that we were started on one core.
func useAllCores() {
	var all [128]byte
	for index := range all {
		all[index] = 255
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fail(err)
	}
	for _, thread := range threads {
		id, _ := strconv.Atoi(thread.Name())
		size, set := uintptr(len(all)), uintptr(unsafe.Pointer(&all))
		if _, _, failed := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(id), size, set); failed != 0 {
			fail("cannot leave the core:", failed)
		}
	}
}
