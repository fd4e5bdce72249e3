package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// tcp echoes what a load of open connections sends, of which so many are active.
func tcp(open, active int) func(count int) string {
	return func(count int) string {
		return measure(open, active, false, count, func(listener net.Listener) {
			for {
				client, err := listener.Accept()
				if err != nil {
					fail(err)
				}
				go echo(client)
			}
		})
	}
}

func echo(client net.Conn) {
	defer client.Close()
	buffer := make([]byte, 1024)
	for {
		length, err := client.Read(buffer)
		if err != nil {
			return
		}
		if _, err := client.Write(buffer[:length]); err != nil {
			return
		}
	}
}

// web says hello to 64 connections.
func web(count int) string {
	return measure(64, 64, true, count, func(listener net.Listener) {
		hello := []byte(`{"message":"Hello, World!"}`)
		fail(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(hello)
		})))
	})
}

// measure serves while the load, a process of the program that started us, asks.
func measure(open, active int, web bool, count int, serve func(net.Listener)) string {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		fail(err)
	}
	limit.Cur = limit.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	go serve(listener)
	kind := "0"
	if web {
		kind = "1"
	}
	numbers := []string{strconv.Itoa(open), strconv.Itoa(active), kind, strconv.Itoa(count)}
	arguments := append([]string{"--load", listener.Addr().String()}, numbers...)
	load := exec.Command(os.Getenv("TASKLETS_BENCHES"), arguments...)
	load.Stderr = os.Stderr
	output, err := load.StdoutPipe()
	if err != nil {
		fail(err)
	}
	input, err := load.StdinPipe()
	if err == nil {
		err = load.Start()
	}
	if err != nil {
		fail(err)
	}
	lines := bufio.NewScanner(output)
	if !lines.Scan() || lines.Text() != "begin" {
		fail("the load has failed")
	}
	before := cpuTime()
	if _, err := input.Write([]byte("!")); err != nil {
		fail(err)
	}
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), "ns=") {
		fail("the load has failed")
	}
	used := cpuTime() - before
	return fmt.Sprintf("%s cpu_ns=%.3f", lines.Text(), float64(used)/float64(count))
}
