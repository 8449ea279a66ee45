package kernel

import (
	"runtime"
	"sync/atomic"
	"time"
)

//go:generate sh -c "cd _gen && go run . -kernels pause -pkg kernel -out ../pause_amd64.s -stubs ../pause_amd64.go"

// Helpers are goroutines that work for loops: see Share. To wake a thread takes some ten
// microseconds, as long as a small product. So a helper that is through with a loop waits for the
// next in a loop of its own, and ends after some tens of microseconds without one: no goroutine
// sleeps in between, and an idle program has none.
//
// It does not wait where that has been in vain, nor while the machine has other work: when there are
// as many runs as cores, or shortly after another goroutine or program took the core.
const (
	longestWait = 50 * time.Microsecond
	// A helper lets other goroutines have its core this often. Where one took it for longer than
	// others, or another program did, there was work.
	yieldAfter = 10 * time.Microsecond
	disturbed  = 20 * time.Microsecond
	// busyFor is how long nobody waits then.
	busyFor = 200 * time.Microsecond
	// mostVain bounds what waits in vain cost, by powers of 2.
	mostVain = 5
)

// pool is what helpers of all loops share.
var pool struct {
	runs    atomic.Int32 // in progress
	waiting atomic.Int32 // helpers that wait for a loop
	busy    atomic.Int64 // until when the machine counts as busy
	idle    atomic.Int64 // when a helper last ended
	vain    atomic.Int32 // waits in vain, one after the other
	// missed is how many loops must come, each soon after a helper ended, before helpers wait again.
	// The first wait in vain costs none, each further one twice as many: where caller and helper get
	// one core from the system, loops come right after each wait.
	missed atomic.Int32
	places atomic.Int32 // that were ever in use
	place  [128]place
}

// place is where a helper waits: its work is nil while it is empty, nobody while a helper waits,
// and the seat that is given to it.
type place struct {
	work atomic.Pointer[seat]
	_    [56]byte // no two in one line of the cache
}

var nobody seat

var began = time.Now()

// clock is the time since the program began.
func clock() time.Duration { return time.Since(began) }

// BeginRun says that a goroutine begins to compute, which will call Share. It calls EndRun at the
// end. Helpers make room where there are more such goroutines than cores.
func BeginRun() { pool.runs.Add(1) }

// EndRun ends what BeginRun began.
func EndRun() { pool.runs.Add(-1) }

// callHelpers gives seats to helpers that wait, or starts new ones.
func callHelpers(seats []seat) {
	if pool.waiting.Load() > 0 {
		for i := range pool.place[:pool.places.Load()] {
			p := &pool.place[i]
			if p.work.Load() == &nobody && p.work.CompareAndSwap(&nobody, &seats[0]) {
				if seats = seats[1:]; len(seats) == 0 {
					return
				}
			}
		}
	}
	if pool.missed.Load() > 0 && clock()-time.Duration(pool.idle.Load()) < longestWait {
		pool.missed.Add(-1)
	}
	for i := range seats {
		go func() {
			for s := &seats[i]; s != nil; s = await() {
				s.help()
			}
		}()
	}
}

// await waits for a seat, nil if none comes.
func await() *seat {
	defer func() { pool.idle.Store(int64(clock())) }()
	if pool.missed.Load() > 0 {
		return nil
	}
	cores := runtime.GOMAXPROCS(0)
	p := emptyPlace(cores - 1)
	if p == nil {
		return nil
	}
	pool.waiting.Add(1)
	defer pool.waiting.Add(-1)
	start := clock()
	came := wait(longestWait, cores, func() bool { return p.work.Load() != &nobody })
	if !came && p.work.CompareAndSwap(&nobody, nil) {
		if clock()-start > longestWait && clock() > time.Duration(pool.busy.Load()) {
			vain := min(pool.vain.Load(), mostVain)
			pool.vain.Store(vain + 1)
			pool.missed.Store(1<<vain - 1)
		}
		return nil
	}
	if pool.vain.Load() > 0 {
		pool.vain.Store(0)
	}
	return p.work.Swap(nil)
}

// emptyPlace takes one of the first n places.
func emptyPlace(n int) *place {
	for i := range pool.place[:min(n, len(pool.place))] {
		p := &pool.place[i]
		if p.work.Load() == nil && p.work.CompareAndSwap(nil, &nobody) {
			for used := pool.places.Load(); int(used) <= i; used = pool.places.Load() {
				pool.places.CompareAndSwap(used, int32(i+1))
			}
			return p
		}
	}
	return nil
}

// spin waits for a condition that another core is about to make true, and says if it did.
func spin(done func() bool) bool { return wait(2*longestWait, 0, done) }

// wait waits for a condition for a time at most, and only while the machine does nothing else and
// there are fewer runs than cores. It says if the condition holds.
func wait(most time.Duration, cores int, done func() bool) bool {
	start := clock()
	last, yielded := start, start
	for {
		for range 16 {
			if done() {
				return true
			}
			pause()
		}
		now := clock()
		if now-last > disturbed {
			pool.busy.Store(int64(now + busyFor))
		}
		if now-start > most || cores > 0 && (int64(now) < pool.busy.Load() || int(pool.runs.Load()) >= cores) {
			return done()
		}
		if now-yielded > yieldAfter {
			runtime.Gosched()
			yielded = clock()
			if yielded-now > disturbed/2 {
				pool.busy.Store(int64(yielded + busyFor))
			}
		}
		last = now
	}
}

// pause passes some ten nanoseconds, and leaves what a core shares with another to that.
func pause() {
	if asmBuilt {
		pauseX86()
	}
}
