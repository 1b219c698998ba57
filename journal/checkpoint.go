package journal

// Checkpoint makes the log forget: it begins a new segment and calls write,
// which appends the whole state of the owner, except for records that are held,
// while other Appends go on. When all that is stable, replay begins at the new
// segment, and older ones without holds are recycled or removed.
//
// If write fails, nothing changes, and its error is returned. In state Failed,
// once Due has told so, what is appended from here on is kept again, but counts
// only when Checkpoint has returned nil, which ends the failure. Only one
// Checkpoint runs at a time; another waits.
func (l *Log) Checkpoint(write func() error) error {
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	root, laid, generation, err := l.beginCheckpoint()
	if err != nil {
		return err
	}
	err = ErrFailed // unless write returns
	defer func() { l.endCheckpoint(err) }()
	if err = write(); err != nil {
		return err
	}
	if err = l.commitPoint(generation, func() {}); err != nil {
		return err
	}
	// The state is stable, but the log does not say so yet.
	if err = l.commitPoint(generation, func() { l.root = root }); err != nil {
		return err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.generation.Load() != generation {
		err = l.refusal
		return err
	}
	l.counters.checkpoints.Add(1)
	l.settled = root
	l.saved = l.laid - laid
	l.sinceRoot = l.saved
	l.progress = 0
	l.saver = true
	l.keeping = true
	if State(l.state.Load()) == Failed {
		l.refusal = nil
		l.reopened = false
		l.backoff = minBackoff
		l.setStateLocked(OK, nil)
	}
	l.kick()
	return nil
}

// beginCheckpoint begins the segment that is to be the root.
func (l *Log) beginCheckpoint() (root uint32, laid int64, generation uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	flags := flagCheckpoint
	if l.refusal != nil {
		if !l.reopened || l.abandoned != nil {
			return 0, 0, 0, l.refusal
		}
		flags |= flagRecovering
		l.discard = false
	}
	laid = l.laid
	root = l.newSegmentLocked(0, flags).seg.number
	l.vacateLocked(root)
	l.saving = true
	return root, laid, l.generation.Load(), nil
}

// commitPoint calls before, under the lock, and then makes a batch with a mark
// stable, whatever the state is.
func (l *Log) commitPoint(generation uint64, before func()) error {
	w := make(waiter, 1)
	l.mu.Lock()
	if l.generation.Load() != generation || l.closing {
		err := l.refusal
		if err == nil {
			err = ErrClosed
		}
		l.mu.Unlock()
		return err
	}
	before()
	if len(l.cur.parts) == 0 {
		l.partLocked(0)
	}
	l.cur.force = true
	l.kick()
	l.commitLocked(Sync, w)
	return <-w
}

// endCheckpoint is after success and failure.
func (l *Log) endCheckpoint(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.saving = false
	l.dueSent = false
	for _, s := range l.segs {
		s.vacate = false
	}
	if err != nil && State(l.state.Load()) == Failed && l.reopened && !l.closing {
		l.abandoned = err
		l.kick()
	}
}

// dueLocked signals Due when the log since the root has grown large.
func (l *Log) dueLocked() {
	if l.sinceRoot > max(4*l.o.SegmentSize, 2*l.saved) {
		l.signalLocked()
	}
}

// signalLocked puts a value into Due, once until the next Checkpoint ends.
func (l *Log) signalLocked() {
	if l.dueSent || l.saving {
		return
	}
	l.dueSent = true
	select {
	case l.due <- struct{}{}:
	default:
	}
}
