package kernel

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
)

// Share cuts [0,n) into parts and calls f for each, on up to workers goroutines at once, of which
// the caller's is number 0. grain is the least number of items worth a call. It returns when all
// calls have; once ctx ends no more of them begin. A panic of f on a helper reaches the caller as a
// *Panic.
//
// Where the parts are cut depends on workers, n and grain alone, so that a result has the same bits each
// time: kernels may round the ends of a part otherwise than its middle. Each worker has a stretch of
// parts of its own, the same in each loop of as many items, so that what it left in its core's cache is
// near when the next loop comes; one that is through takes from the ends of the others'. No call waits
// for a worker that has not come: where no core is free, the caller does all.
func Share(ctx context.Context, workers, n, grain int, f func(worker, lo, hi int)) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1, n>>31) // units fit 32 bits
	units := (n + grain - 1) / grain
	workers = min(workers, units)
	// Some parts for each worker bound how long a cancelled loop goes on, and the last how far apart
	// workers end.
	part := max(1, units/(max(workers, 1)*8))
	if workers <= 1 {
		for lo := 0; lo < n && ctx.Err() == nil; lo += part * grain {
			f(0, lo, min(n, lo+part*grain))
		}
		return
	}
	parts := (units + part - 1) / part
	workers = min(workers, parts)
	l := &loop{ctx: ctx, f: f, n: n, part: part * grain, seats: make([]seat, workers)}
	for i := range l.seats {
		s := &l.seats[i]
		s.loop, s.worker = l, i
		s.parts.Store(span(uint64(i*parts/workers), uint64((i+1)*parts/workers)))
	}
	callHelpers(l.seats[1:])
	// Even if a part panics the others must have ended before the caller goes on.
	defer func() {
		l.close()
		if p := l.broke.Load(); p != nil {
			panic(p)
		}
	}()
	l.seats[0].work()
}

// loop is a call of Share in progress.
type loop struct {
	ctx     context.Context
	f       func(worker, lo, hi int)
	n, part int // items, in all and of a part
	seats   []seat
	// inside counts the helpers at work, and has the bit closed when no more may come in.
	inside  atomic.Int64
	sleeper atomic.Pointer[chan struct{}] // of the caller, if it sleeps until they have left
	broke   atomic.Pointer[Panic]
}

const closed = 1 << 62

// seat is a worker's place in a loop.
type seat struct {
	parts  atomic.Uint64 // of its stretch, that nobody has begun: the span lo to hi-1
	loop   *loop
	worker int
	_      [40]byte // no two seats in one line of the cache
}

func span(lo, hi uint64) uint64 { return lo<<32 | hi }

// take takes a part of a seat's stretch: the worker whose it is the first, others the last.
func (s *seat) take(own bool) (lo, hi int, ok bool) {
	for {
		old := s.parts.Load()
		first, last := old>>32, old&math.MaxUint32
		if first >= last {
			return 0, 0, false
		}
		taken, rest := first, span(first+1, last)
		if !own {
			taken, rest = last-1, span(first, last-1)
		}
		if s.parts.CompareAndSwap(old, rest) {
			lo = int(taken) * s.loop.part
			return lo, min(s.loop.n, lo+s.loop.part), true
		}
	}
}

// work computes parts until none is left.
func (s *seat) work() {
	l := s.loop
	for i := range l.seats {
		of := &l.seats[(s.worker+i)%len(l.seats)]
		for l.ctx.Err() == nil {
			lo, hi, ok := of.take(i == 0)
			if !ok {
				break
			}
			l.f(s.worker, lo, hi)
		}
	}
}

// help is work for a helper, if the loop is still going on.
func (s *seat) help() {
	l := s.loop
	defer func() {
		if p := recover(); p != nil {
			l.broke.Store(NewPanic(p))
		}
		if l.inside.Add(-1) != closed {
			return
		}
		if c := l.sleeper.Load(); c != nil {
			select {
			case *c <- struct{}{}:
				runtime.Gosched() // the caller may come on this core at once
			default:
			}
		}
	}()
	if l.inside.Add(1) < closed {
		s.work()
	}
}

// close lets no more helpers in and waits until those inside have left.
func (l *loop) close() {
	left := func() bool { return l.inside.Load() == closed }
	if l.inside.Add(closed) == closed || spin(left) {
		return
	}
	c := make(chan struct{}, 1)
	l.sleeper.Store(&c)
	for !left() {
		<-c
	}
}
