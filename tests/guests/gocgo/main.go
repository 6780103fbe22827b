// gocgo: a Go program linked with C; the clock is read from both languages.
package main

// #include <time.h>
import "C"

import (
	"fmt"
	"time"
)

func main() {
	fmt.Println(C.time(nil), time.Now().UnixNano(), C.time(nil))
}
