package auth

import (
	"context"
	"runtime"
)

// EditAndCrash is EditPasswordFile of a process that dies just before a step,
// without cleaning up anything, if it comes that far.
func EditAndCrash(path string, fn func(*PasswordEdit) error, step string) (crashed bool, err error) {
	done := make(chan struct{})
	crashed = true
	go func() {
		defer close(done)
		err = editPasswordFile(context.Background(), path, fn, func(s string) {
			if s == step {
				runtime.Goexit()
			}
		})
		crashed = false
	}()
	<-done
	return crashed, err
}
