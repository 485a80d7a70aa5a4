// go.go -- The benchmarks in Go: goroutines in place of tasks.
//
// Takes a benchmark's name and its parameters as key=value, does one run, and
// prints its values. Each does what the C program of the same name does; see
// the heads of ../sched.c, ../sync.c, ../locks.c, ../select.c, ../time.c,
// ../memory.c and ../dump.c. A dump is the goroutine profile that lists every stack once with
// its count (runtime/pprof, debug=0), Go's cheapest that has them all.
package main

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"os"
	"reflect"
	"runtime"
	"runtime/pprof"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var params = map[string]int{}

// A goroutine that is measured; its counter has cache lines of its own.
type doer struct {
	done uint64
	_    [120]byte
}

func (d *doer) count() {
	atomic.StoreUint64(&d.done, d.done+1)
}

// Nanoseconds of wall time per operation, all goroutines taken together.
func steady(tasks int, do func(d *doer, index int)) float64 {
	doers := make([]doer, tasks)
	sum := func() (total uint64) {
		for i := range doers {
			total += atomic.LoadUint64(&doers[i].done)
		}
		return
	}
	for i := range doers {
		go do(&doers[i], i)
	}
	time.Sleep(100 * time.Millisecond)
	before, start := sum(), time.Now()
	time.Sleep(300 * time.Millisecond)
	done, wall := sum()-before, time.Since(start)
	return float64(wall.Nanoseconds()) / float64(done)
}

func longestWait() float64 {
	var longest int64
	from := time.Now().Add(50 * time.Millisecond)
	each := steady(params["tasks"], func(d *doer, _ int) {
		last := time.Time{}
		for {
			runtime.Gosched()
			now := time.Now()
			if last.After(from) {
				wait := int64(now.Sub(last))
				seen := atomic.LoadInt64(&longest)
				for wait > seen && !atomic.CompareAndSwapInt64(&longest, seen, wait) {
					seen = atomic.LoadInt64(&longest)
				}
			}
			last = now
			d.count()
		}
	})
	return float64(atomic.LoadInt64(&longest)) / (each * float64(params["tasks"]))
}

func yield() float64 {
	return steady(params["tasks"], func(d *doer, _ int) {
		for {
			runtime.Gosched()
			d.count()
		}
	}) * float64(params["workers"])
}

func spawnJoin() float64 {
	batch := params["batch"]
	return steady(params["workers"], func(d *doer, _ int) {
		for {
			var all sync.WaitGroup
			all.Add(batch)
			for i := 0; i < batch; i++ {
				go all.Done()
			}
			all.Wait()
			atomic.StoreUint64(&d.done, d.done+uint64(batch))
		}
	}) * float64(params["workers"])
}

// A group of goroutines that the first error cancels, as golang.org/x/sync's
// errgroup is.
type group struct {
	all    sync.WaitGroup
	places chan struct{}
	once   sync.Once
	err    error
	cancel context.CancelFunc
}

func (g *group) start(ctx context.Context, do func(context.Context) error) {
	if g.places != nil {
		g.places <- struct{}{}
	}
	g.all.Add(1)
	go func() {
		defer g.all.Done()
		if err := do(ctx); err != nil {
			g.once.Do(func() { g.err = err; g.cancel() })
		}
		if g.places != nil {
			<-g.places
		}
	}()
}

const children = 100

func scopes(keep bool) float64 {
	return steady(params["workers"], func(d *doer, _ int) {
		var ended chan error
		do := func(context.Context) error { return nil }
		if keep {
			ended = make(chan error, children)
			do = func(context.Context) error { ended <- nil; return nil }
		}
		for {
			ctx, cancel := context.WithCancel(context.Background())
			g := group{cancel: cancel}
			if params["limit"] > 0 {
				g.places = make(chan struct{}, params["limit"])
			}
			for i := 0; i < children; i++ {
				g.start(ctx, do)
			}
			for i := 0; i < children; i++ {
				if keep {
					<-ended
				}
				d.count()
			}
			g.all.Wait()
			cancel()
		}
	}) * float64(params["workers"])
}

func scope() float64     { return scopes(false) }
func scopeNext() float64 { return scopes(true) }

func chanPingpong() float64 {
	pairs, parallel := params["pairs"], params["workers"]
	there, back := make([]chan uint64, pairs), make([]chan uint64, pairs)
	for i := range there {
		there[i], back[i] = make(chan uint64, 1), make(chan uint64, 1)
	}
	if pairs < parallel {
		parallel = pairs
	}
	return steady(2*pairs, func(d *doer, index int) {
		to, from := there[index/2], back[index/2]
		if index%2 == 1 {
			for ball := range to {
				from <- ball + 1
			}
		}
		for ball := uint64(0); ; ball = <-from {
			to <- ball
			d.count()
		}
	}) * float64(parallel)
}

// The language's select where the number of clauses is known, reflect's for
// many.
func selectReady() float64 {
	clauses := params["clauses"]
	return steady(params["workers"], func(d *doer, _ int) {
		channels := make([]chan uint64, clauses)
		cases := make([]reflect.SelectCase, clauses)
		for i := range channels {
			channels[i] = make(chan uint64, 1)
			cases[i] = reflect.SelectCase{Dir: reflect.SelectRecv,
				Chan: reflect.ValueOf(channels[i])}
		}
		last := channels[clauses-1]
		for {
			last <- 1
			switch clauses {
			case 1:
				<-last
			case 2:
				select {
				case <-channels[0]:
				case <-last:
				}
			case 8:
				select {
				case <-channels[0]:
				case <-channels[1]:
				case <-channels[2]:
				case <-channels[3]:
				case <-channels[4]:
				case <-channels[5]:
				case <-channels[6]:
				case <-last:
				}
			default:
				reflect.Select(cases)
			}
			d.count()
		}
	}) * float64(params["workers"])
}

func selectPingpong() float64 {
	there, back := make(chan uint64, 1), make(chan uint64, 1)
	silent := make(chan uint64)
	receive := func(from chan uint64) (ball uint64) {
		select {
		case ball = <-from:
		case ball = <-silent:
		}
		return
	}
	return steady(2, func(d *doer, index int) {
		if index == 1 {
			for {
				back <- receive(there) + 1
			}
		}
		for ball := uint64(0); ; ball = receive(back) {
			there <- ball
			d.count()
		}
	})
}

func mutex() float64 {
	return steady(params["workers"], func(d *doer, _ int) {
		var own sync.Mutex
		for {
			own.Lock()
			own.Unlock()
			d.count()
		}
	}) * float64(params["workers"])
}

func mutexContended() float64 {
	var shared sync.Mutex
	var count uint64
	return steady(params["tasks"], func(d *doer, _ int) {
		for {
			shared.Lock()
			count++
			shared.Unlock()
			d.count()
		}
	})
}

// One object for each goroutine, used for ever.
func own(begin func() func()) float64 {
	return steady(params["workers"], func(d *doer, _ int) {
		use := begin()
		for {
			use()
			d.count()
		}
	}) * float64(params["workers"])
}

func rwlockRead() float64 {
	return own(func() func() {
		var own sync.RWMutex
		return func() { own.RLock(); own.RUnlock() }
	})
}

func rwlockWrite() float64 {
	return own(func() func() {
		var own sync.RWMutex
		return func() { own.Lock(); own.Unlock() }
	})
}

func semaphore() float64 {
	return own(func() func() {
		own := make(chan struct{}, 2)
		return func() { own <- struct{}{}; <-own }
	})
}

func event() float64 {
	return own(func() func() {
		own := make(chan struct{})
		close(own)
		return func() { <-own }
	})
}

func once() float64 {
	return own(func() func() {
		var own sync.Once
		return func() { own.Do(func() {}) }
	})
}

func waitgroup() float64 {
	return own(func() func() {
		var own sync.WaitGroup
		return func() { own.Add(1); own.Done(); own.Wait() }
	})
}

func rwlockShared() float64 {
	var shared sync.RWMutex
	return steady(params["tasks"], func(d *doer, _ int) {
		for {
			shared.RLock()
			shared.RUnlock()
			d.count()
		}
	})
}

func condPingpong() float64 {
	var mutex sync.Mutex
	turned, turn := sync.NewCond(&mutex), 0
	return steady(2, func(d *doer, index int) {
		mutex.Lock()
		for {
			for turn != index {
				turned.Wait()
			}
			turn = 1 - index
			turned.Signal()
			if index == 0 {
				d.count()
			}
		}
	})
}

func grow(first, leaves int, to chan<- int) {
	if leaves == 1 {
		to <- first
		return
	}
	from, sum := make(chan int, 10), 0
	for i := 0; i < 10; i++ {
		go grow(first+i*leaves/10, leaves/10, from)
	}
	for i := 0; i < 10; i++ {
		sum += <-from
	}
	to <- sum
}

func skynet() float64 {
	const leaves = 1000000
	rounds := 2 - params["first"]
	var start time.Time
	for i := 0; i < rounds; i++ {
		result := make(chan int, 1)
		start = time.Now()
		go grow(0, leaves, result)
		if sum := <-result; sum != leaves*(leaves-1)/2 {
			fail("skynet gave %d", sum)
		}
	}
	return milliseconds(time.Since(start))
}

// ---- Timers. ----

func armFar(timers []*time.Timer) {
	for i := range timers {
		timers[i] = time.NewTimer(farDelay())
	}
}

func farDelay() time.Duration {
	return 10*time.Second + time.Duration(rand.Intn(60000000))*time.Microsecond
}

// Arms a timer that exists and stops it, as the C program does.
func timerCancel() float64 {
	timers := make([]*time.Timer, params["armed"])
	armFar(timers)
	delay := time.Duration(params["delay"]) * time.Millisecond
	one := time.AfterFunc(time.Hour, func() {})
	one.Stop()
	start := time.Now()
	for i := 0; i < 1000000; i++ {
		one.Reset(delay + time.Duration(i%1024))
		one.Stop()
	}
	took := time.Since(start)
	runtime.KeepAlive(timers)
	return float64(took.Nanoseconds()) / 1000000
}

func timerChurn() float64 {
	timers := make([]*time.Timer, params["armed"])
	armFar(timers)
	start := time.Now()
	for i := 0; i < 1000000; i++ {
		one := timers[rand.Intn(len(timers))]
		one.Stop()
		one.Reset(farDelay())
	}
	return float64(time.Since(start).Nanoseconds()) / 1000000
}

func recvDeadline() float64 {
	there, back := make(chan uint64, 1), make(chan uint64, 1)
	return steady(2, func(d *doer, index int) {
		to, from := there, back
		if index == 1 {
			to, from = back, there
		} else {
			to <- 0
		}
		deadline := time.NewTimer(time.Hour)
		for {
			var ball uint64
			deadline.Reset(time.Hour)
			select {
			case ball = <-from:
				deadline.Stop()
			case <-deadline.C:
				fail("an hour has passed")
			}
			to <- ball
			if index == 0 {
				d.count()
			}
		}
	})
}

func sleepAll(worst *[3]float64) {
	late := make([]int64, params["tasks"])
	var all sync.WaitGroup
	all.Add(len(late))
	for i := range late {
		go func(i int) {
			start := time.Now()
			time.Sleep(100 * time.Millisecond)
			late[i] = int64(time.Since(start) - 100*time.Millisecond)
			all.Done()
		}(i)
	}
	all.Wait()
	sort.Slice(late, func(a, b int) bool { return late[a] < late[b] })
	for i, place := range []int{len(late) / 2, len(late) / 100 * 99,
		len(late) - 1} {
		if us := float64(late[place]) / 1000; us > worst[i] {
			worst[i] = us
		}
	}
}

func sleepLate() (worst [3]float64) {
	var unused [3]float64
	if params["first"] == 1 {
		sleepAll(&worst)
		return
	}
	sleepAll(&unused)
	for i := 0; i < 5; i++ {
		sleepAll(&worst)
	}
	return
}

// ---- Parked goroutines. ----

//go:noinline
func readBytes(from <-chan uint64) uint64 { return <-from }

//go:noinline
func readHeader(from <-chan uint64) uint64 { return readBytes(from) + 1 }

//go:noinline
func readRequest(from <-chan uint64) uint64 { return readHeader(from) + 2 }

var keep uint64 // so that no call is a tail call

func handleConnection(from <-chan uint64) { keep = readRequest(from) }
func handleRequest(from <-chan uint64)    { keep = readHeader(from) }
func handleHeader(from <-chan uint64)     { keep = readBytes(from) }

func park(tasks int) {
	bodies := []func(<-chan uint64){
		handleConnection, handleRequest, handleHeader}
	var from chan uint64
	for i := 0; i < tasks; i++ {
		if i%1000 == 0 {
			from = make(chan uint64, 1)
		}
		go bodies[i%3](from)
	}
	time.Sleep(500 * time.Millisecond)
}

// A figure in kB from a file of lines "key: value kB", in bytes.
func readFigure(path, key string) float64 {
	text, err := os.ReadFile(path)
	if err != nil {
		fail("%v", err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == key+":" {
			kilobytes, _ := strconv.ParseFloat(words[1], 64)
			return kilobytes * 1024
		}
	}
	fail("%s has no %s", path, key)
	return 0
}

func used() float64 {
	return readFigure("/proc/self/smaps_rollup", "Rss") +
		readFigure("/proc/self/status", "VmPTE")
}

func parkedMemory() float64 {
	park(1)
	before := used()
	park(params["tasks"])
	return (used() - before) / float64(params["tasks"])
}

// ---- Dumps. ----

// The epoch is odd while the dump is being taken.
func lookForGaps(epoch *uint32, worst *int64) {
	last, before := time.Now(), atomic.LoadUint32(epoch)
	for {
		runtime.Gosched()
		now, after := time.Now(), atomic.LoadUint32(epoch)
		gap := int64(now.Sub(last))
		if (after%2 == 1 || after != before) && gap > atomic.LoadInt64(worst) {
			atomic.StoreInt64(worst, gap)
		}
		last, before = now, after
	}
}

func dump() (total, gap float64) {
	var epoch uint32
	worst := make([]int64, params["workers"])
	park(params["tasks"])
	for i := range worst {
		go lookForGaps(&epoch, &worst[i])
	}
	time.Sleep(100 * time.Millisecond)
	start := time.Now()
	atomic.AddUint32(&epoch, 1)
	err := pprof.Lookup("goroutine").WriteTo(io.Discard, 0)
	atomic.AddUint32(&epoch, 1)
	total = milliseconds(time.Since(start))
	if err != nil {
		fail("%v", err)
	}
	time.Sleep(100 * time.Millisecond)
	for i := range worst {
		if one := float64(atomic.LoadInt64(&worst[i])) / 1e6; one > gap {
			gap = one
		}
	}
	return
}

// ---- Channels that are no queue. ----

func oneshot() float64 {
	requests := make(chan chan uint64, 1)
	return steady(2, func(d *doer, index int) {
		if index == 1 {
			for reply := range requests {
				reply <- 1
			}
		}
		for {
			reply := make(chan uint64, 1)
			requests <- reply
			<-reply
			d.count()
		}
	})
}

// A channel for each that listens.
func broadcast() float64 {
	var received sync.WaitGroup
	listeners := make([]chan uint64, params["tasks"])
	for i := range listeners {
		listeners[i] = make(chan uint64, 16)
	}
	return steady(1+len(listeners), func(d *doer, index int) {
		if index > 0 {
			for range listeners[index-1] {
				received.Done()
			}
		}
		for {
			received.Add(len(listeners))
			for _, listener := range listeners {
				listener <- 1
			}
			received.Wait()
			d.count()
		}
	})
}

// A value, its version, and a channel that is closed when it changes.
type watch struct {
	mutex          sync.Mutex
	value, version uint64
	changed        chan struct{}
}

func (w *watch) put(value uint64) {
	w.mutex.Lock()
	w.value = value
	w.version++
	close(w.changed)
	w.changed = make(chan struct{})
	w.mutex.Unlock()
}

func (w *watch) next(version *uint64) uint64 {
	for {
		w.mutex.Lock()
		value, now, changed := w.value, w.version, w.changed
		w.mutex.Unlock()
		if now > *version {
			*version = now
			return value
		}
		<-changed
	}
}

func watchPingpong() float64 {
	watches := [2]*watch{}
	for i := range watches {
		watches[i] = &watch{changed: make(chan struct{})}
	}
	return steady(2, func(d *doer, index int) {
		version := uint64(0)
		if index == 0 {
			watches[0].put(0)
		}
		for {
			watches[index].put(watches[1-index].next(&version))
			if index == 0 {
				d.count()
			}
		}
	})
}

// ---- The program. ----

func milliseconds(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1e6
}

func fail(format string, values ...interface{}) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
	os.Exit(1)
}

func main() {
	for _, argument := range os.Args[2:] {
		words := strings.SplitN(argument, "=", 2)
		params[words[0]], _ = strconv.Atoi(words[1])
	}
	runtime.GOMAXPROCS(params["workers"])
	runs := map[string]func() float64{
		"longest-wait": longestWait, "yield": yield, "spawn-join": spawnJoin,
		"chan-pingpong": chanPingpong, "mutex": mutex,
		"mutex-contended": mutexContended, "skynet": skynet,
		"parked-memory": parkedMemory,
		"rwlock-read":   rwlockRead, "rwlock-write": rwlockWrite,
		"rwlock-shared": rwlockShared, "semaphore": semaphore,
		"event": event, "cond-pingpong": condPingpong, "once": once,
		"waitgroup": waitgroup, "select-ready": selectReady,
		"select-pingpong": selectPingpong, "oneshot": oneshot,
		"broadcast": broadcast, "watch-pingpong": watchPingpong,
		"scope": scope, "scope-next": scopeNext,
		"timer-cancel": timerCancel,
		"timer-churn":  timerChurn, "recv-deadline": recvDeadline,
	}
	if os.Args[1] == "dump-total" {
		total, gap := dump()
		fmt.Printf("%g\n%g\n", total, gap)
		return
	}
	if os.Args[1] == "sleep-late" {
		for _, late := range sleepLate() {
			fmt.Println(late)
		}
		return
	}
	run, found := runs[os.Args[1]]
	if !found {
		fail("no benchmark %s", os.Args[1])
	}
	fmt.Printf("%g\n", run())
}
