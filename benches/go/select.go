// The benchmarks that select.

package main

import (
	"runtime"
	"time"
)

// Go's select has no loop form; reflect.Select has, and is much slower. So: every case by hand.

// readyChannels makes n channels whose senders never stop.
func readyChannels(n int) []chan int {
	channels := make([]chan int, n)
	for i := range channels {
		c := make(chan int)
		channels[i] = c
		go func() {
			for {
				c <- 1
			}
		}()
	}
	return channels
}

func select2(count int) string {
	c, sum := readyChannels(2), 0
	start := time.Now()
	for n := 0; n < count; n++ {
		select {
		case it := <-c[0]:
			sum += it
		case it := <-c[1]:
			sum += it
		}
	}
	check(sum, count)
	return per(start, count)
}

func select8(count int) string {
	c, sum := readyChannels(8), 0
	start := time.Now()
	for n := 0; n < count; n++ {
		select {
		case it := <-c[0]:
			sum += it
		case it := <-c[1]:
			sum += it
		case it := <-c[2]:
			sum += it
		case it := <-c[3]:
			sum += it
		case it := <-c[4]:
			sum += it
		case it := <-c[5]:
			sum += it
		case it := <-c[6]:
			sum += it
		case it := <-c[7]:
			sum += it
		}
	}
	check(sum, count)
	return per(start, count)
}

func select64(count int) string {
	c, start := readyChannels(64), time.Now()
	check(among64(c, count), count)
	return per(start, count)
}

// select64One selects among 64 of which one ever moves. After each message its sender steps
// back, so that the next select must wait.
func select64One(count int) string {
	c := make([]chan int, 64)
	for i := range c {
		c[i] = make(chan int)
	}
	go func() {
		for {
			c[0] <- 1
			runtime.Gosched()
		}
	}()
	start := time.Now()
	check(among64(c, count), count)
	return per(start, count)
}

func among64(c []chan int, count int) (sum int) {
	for n := 0; n < count; n++ {
		select {
		case it := <-c[0]:
			sum += it
		case it := <-c[1]:
			sum += it
		case it := <-c[2]:
			sum += it
		case it := <-c[3]:
			sum += it
		case it := <-c[4]:
			sum += it
		case it := <-c[5]:
			sum += it
		case it := <-c[6]:
			sum += it
		case it := <-c[7]:
			sum += it
		case it := <-c[8]:
			sum += it
		case it := <-c[9]:
			sum += it
		case it := <-c[10]:
			sum += it
		case it := <-c[11]:
			sum += it
		case it := <-c[12]:
			sum += it
		case it := <-c[13]:
			sum += it
		case it := <-c[14]:
			sum += it
		case it := <-c[15]:
			sum += it
		case it := <-c[16]:
			sum += it
		case it := <-c[17]:
			sum += it
		case it := <-c[18]:
			sum += it
		case it := <-c[19]:
			sum += it
		case it := <-c[20]:
			sum += it
		case it := <-c[21]:
			sum += it
		case it := <-c[22]:
			sum += it
		case it := <-c[23]:
			sum += it
		case it := <-c[24]:
			sum += it
		case it := <-c[25]:
			sum += it
		case it := <-c[26]:
			sum += it
		case it := <-c[27]:
			sum += it
		case it := <-c[28]:
			sum += it
		case it := <-c[29]:
			sum += it
		case it := <-c[30]:
			sum += it
		case it := <-c[31]:
			sum += it
		case it := <-c[32]:
			sum += it
		case it := <-c[33]:
			sum += it
		case it := <-c[34]:
			sum += it
		case it := <-c[35]:
			sum += it
		case it := <-c[36]:
			sum += it
		case it := <-c[37]:
			sum += it
		case it := <-c[38]:
			sum += it
		case it := <-c[39]:
			sum += it
		case it := <-c[40]:
			sum += it
		case it := <-c[41]:
			sum += it
		case it := <-c[42]:
			sum += it
		case it := <-c[43]:
			sum += it
		case it := <-c[44]:
			sum += it
		case it := <-c[45]:
			sum += it
		case it := <-c[46]:
			sum += it
		case it := <-c[47]:
			sum += it
		case it := <-c[48]:
			sum += it
		case it := <-c[49]:
			sum += it
		case it := <-c[50]:
			sum += it
		case it := <-c[51]:
			sum += it
		case it := <-c[52]:
			sum += it
		case it := <-c[53]:
			sum += it
		case it := <-c[54]:
			sum += it
		case it := <-c[55]:
			sum += it
		case it := <-c[56]:
			sum += it
		case it := <-c[57]:
			sum += it
		case it := <-c[58]:
			sum += it
		case it := <-c[59]:
			sum += it
		case it := <-c[60]:
			sum += it
		case it := <-c[61]:
			sum += it
		case it := <-c[62]:
			sum += it
		case it := <-c[63]:
			sum += it
		}
	}
	return sum
}
