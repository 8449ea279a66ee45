package pipeline

import (
	"errors"
	"fmt"
	"slices"
)

// ItemError is the failure of one item of a batch: a picture, a text, a request. A batch with such
// failures returns the results of the other items beside its error, which holds one ItemError for
// each that failed; ItemErrors lists them.
type ItemError struct {
	What  string // "picture", "text", "question", "request" or "item"
	Index int    // in the batch, from 0
	Err   error

	alone bool // in its batch: the message needs no number
}

func (e *ItemError) Error() string {
	if e.alone {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s %d: %v", e.What, e.Index+1, e.Err)
}

// Unwrap returns Err.
func (e *ItemError) Unwrap() error { return e.Err }

// ItemErrors lists the items that failed, where err is the error of a batch. It is empty where the
// batch failed as a whole: err is then about the call, the engine or the context, and there are no
// results.
func ItemErrors(err error) []*ItemError {
	var list []*ItemError
	switch e := err.(type) {
	case *ItemError:
		list = append(list, e)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			list = append(list, ItemErrors(one)...)
		}
	}
	return list
}

// inBatch runs work over n items, given by their indices, and returns one result for each. check is
// called for every item beforehand; those that it refuses are left out of work. Where work fails
// because of an item, each is tried on its own, and where that fails for another reason, such as the
// end of ctx, the rest fail with it. The result of an item that failed is the zero value, and the
// error holds an ItemError for it.
func inBatch[R any](
	what string, n int, check func(i int) error, work func(at []int) ([]R, error),
) ([]R, error) {
	var failed []error
	fail := func(i int, err error) { failed = append(failed, &ItemError{what, i, err, n == 1}) }
	var good []int
	for i := range n {
		switch err := check(i); {
		case err == nil:
			good = append(good, i)
		case !isItems(err):
			return nil, err
		default:
			fail(i, err)
		}
	}
	results := make([]R, n)
	put := func(at []int) error {
		some, err := work(at)
		if err == nil {
			for j, i := range at {
				results[i] = some[j]
			}
		}
		return err
	}
	if len(good) == 0 {
		return results, errors.Join(failed...)
	}
	err := put(good)
	switch {
	case err == nil:
	case !isItems(err):
		return nil, err
	case len(good) == 1:
		fail(good[0], err)
	default:
		var end error // what keeps the rest from being tried
		for _, i := range good {
			err := end
			if err == nil {
				err = put([]int{i})
			}
			if err == nil {
				continue
			}
			if fail(i, err); !isItems(err) {
				end = err
			}
		}
	}
	return results, errors.Join(failed...)
}

// isItems reports whether an error can be one item's fault.
func isItems(err error) bool {
	var limit *LimitError
	if errors.As(err, &limit) && limit.Field == "Batch" {
		return false
	}
	kinds := []error{ErrImage, ErrPrompt, ErrRegions, ErrLimit}
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// pick returns the elements at some indices.
func pick[T any](list []T, at []int) []T {
	some := make([]T, len(at))
	for j, i := range at {
		some[j] = list[i]
	}
	return some
}

// one returns the result of a batch of one.
func one[R any](results []R, err error) (R, error) {
	if failed := ItemErrors(err); len(failed) == 1 {
		err = failed[0].Err
	}
	if err != nil {
		var none R
		return none, err
	}
	return results[0], nil
}
