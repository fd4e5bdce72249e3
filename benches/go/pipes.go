package main

import (
	"runtime"
	"time"
)

// stages sends items through so many goroutines, each of which adds one.
func stages(many, count int) string {
	start := time.Now()
	first := make(chan int)
	go func() {
		for item := 0; item < count; item++ {
			first <- item
		}
		close(first)
	}()
	last := first
	for stage := 0; stage < many; stage++ {
		from, to := last, make(chan int)
		go func() {
			for item := range from {
				to <- item + 1
			}
			close(to)
		}()
		last = to
	}
	sum := 0
	for item := range last {
		sum += item
	}
	check(sum, sumBelow(count)+many*count)
	return per(start, count)
}

// batch gathers items by the hundred.
func batch(count int) string {
	start := time.Now()
	items, batches := make(chan int), make(chan []int)
	go func() {
		for item := 0; item < count; item++ {
			items <- item
		}
		close(items)
	}()
	go func() {
		all := []int{}
		for item := range items {
			all = append(all, item)
			if len(all) == 100 {
				batches <- all
				all = []int{}
			}
		}
		batches <- all
		close(batches)
	}()
	sum := 0
	for all := range batches {
		for _, item := range all {
			sum += item
		}
	}
	check(sum, sumBelow(count))
	return per(start, count)
}

// uneven is the work for an item: the same as in ../src/workload.rs.
func uneven(item int) uint64 {
	return 25_000 + (uint64(item)*0x9E3779B97F4A7C15>>32)%150_000
}

func spin(rounds uint64) uint64 {
	it := uint64(1)
	for round := uint64(0); round < rounds; round++ {
		it = it*0x9E3779B9 + round
	}
	return it & 7
}

// ordered keeps the order by a queue of promises, which also bounds what is on the way.
func ordered(count int) string {
	runtime.GOMAXPROCS(2)
	start := time.Now()
	type job struct {
		item int
		done chan int
	}
	jobs, order := make(chan job), make(chan chan int, 32)
	for worker := 0; worker < 2; worker++ {
		go func() {
			for it := range jobs {
				it.done <- it.item + int(spin(uneven(it.item))/8)
			}
		}()
	}
	go func() {
		for item := 0; item < count; item++ {
			done := make(chan int, 1)
			order <- done
			jobs <- job{item, done}
		}
		close(jobs)
		close(order)
	}()
	sum, next := 0, 0
	for done := range order {
		item := <-done
		check(item, next)
		next++
		sum += item
	}
	check(sum, sumBelow(count))
	return per(start, count)
}
