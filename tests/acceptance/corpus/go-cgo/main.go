// stamp says when its build began.
package main

// static long long built(void) { return BUILT; }
import "C"

import "fmt"

func main() {
	fmt.Println(int64(C.built()))
}
