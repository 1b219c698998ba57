package bench

import (
	"reflect"
	"slices"
)

// Medians sums up repetitions: of each kind of run the median of each figure by
// itself, and all that was lost, reordered, repeated or failed. Results are of
// one kind when they differ in nothing but what was measured.
func Medians(results []Result) (medians []Result) {
	var groups [][]Result
	for _, r := range results {
		i := slices.IndexFunc(groups, func(g []Result) bool { return kindred(g[0], r) })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], r)
	}
	for _, g := range groups {
		medians = append(medians, median(g))
	}
	return medians
}

// kindred tells whether a and b come of the same options. The rate of a share
// of saturation differs from one repetition to the next.
func kindred(a, b Result) bool {
	return a.options() == b.options()
}

// options is r without what was measured.
func (r Result) options() Result {
	o := Result{
		Scenario: r.Scenario, Version: r.Version, QoS: r.QoS, Publishers: r.Publishers, Subscribers: r.Subscribers,
		Payload: r.Payload, Window: r.Window, RateShare: r.RateShare, Client: r.Client, Topics: r.Topics, Wildcard: r.Wildcard,
		Subscriptions: r.Subscriptions, Stalled: r.Stalled, UserProperties: r.UserProperties, Aliases: r.Aliases, Retain: r.Retain,
	}
	if o.RateShare == 0 {
		o.Rate = r.Rate
	}
	return o
}

// median of the results of one kind.
func median(all []Result) Result {
	m := all[0]
	m.Repetition, m.histogram = 0, nil
	m.Connects, m.Idle = nil, nil
	mid(reflect.ValueOf(&m).Elem(), valuesOf(all, func(r Result) any { return r }))
	if all[0].Connects != nil {
		c := *all[0].Connects
		c.Reasons = nil
		mid(reflect.ValueOf(&c).Elem(), valuesOf(all, func(r Result) any { return *r.Connects }))
		c.Failed = 0
		for _, r := range all {
			c.Failed += r.Connects.Failed
		}
		m.Connects = &c
	}
	if all[0].Idle != nil {
		c := *all[0].Idle
		mid(reflect.ValueOf(&c).Elem(), valuesOf(all, func(r Result) any { return *r.Idle }))
		c.Missed, c.Ended = 0, 0
		for _, r := range all {
			c.Missed += r.Idle.Missed
			c.Ended += r.Idle.Ended
		}
		m.Idle = &c
	}
	m.Lost, m.Reordered, m.Duplicates = 0, 0, 0
	for _, r := range all {
		m.Lost += r.Lost
		m.Reordered += r.Reordered
		m.Duplicates += r.Duplicates
	}
	return m
}

func valuesOf(all []Result, part func(Result) any) (values []reflect.Value) {
	for _, r := range all {
		values = append(values, reflect.ValueOf(part(r)))
	}
	return values
}

// mid sets each number in to, and in the structures in it, to the median of
// those at the same place in all.
func mid(to reflect.Value, all []reflect.Value) {
	for i := range to.NumField() {
		f := to.Field(i)
		if !f.CanSet() {
			continue
		}
		var same []reflect.Value
		for _, v := range all {
			same = append(same, v.Field(i))
		}
		switch f.Kind() {
		case reflect.Struct:
			mid(f, same)
		case reflect.Float64:
			f.SetFloat(middle(same, reflect.Value.Float))
		case reflect.Uint64:
			f.SetUint(middle(same, reflect.Value.Uint))
		}
	}
}

// middle is the median, of an even number the mean of the two in the middle.
func middle[T float64 | uint64](values []reflect.Value, number func(reflect.Value) T) T {
	var all []T
	for _, v := range values {
		all = append(all, number(v))
	}
	slices.Sort(all)
	n := len(all)
	if n%2 == 1 {
		return all[n/2]
	}
	return (all[n/2-1] + all[n/2]) / 2
}
