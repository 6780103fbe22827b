// Command maketable writes a source with a table in the order of a map, as generators do by mistake.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	numbers := map[string]int{
		"red": 0xff0000, "green": 0x00ff00, "blue": 0x0000ff, "white": 0xffffff, "black": 0,
		"orange": 0xffa500, "purple": 0x800080, "teal": 0x008080, "navy": 0x000080, "olive": 0x808000,
	}
	file, err := os.Create(os.Args[1])
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(file, "package main\n\nconst made = %q\n\nvar colours = []string{\n", time.Now().Format(time.RFC3339Nano))
	for name, number := range numbers {
		fmt.Fprintf(file, "\t%q,\n", fmt.Sprintf("%06x %s", number, name))
	}
	fmt.Fprintln(file, "}")
	if err := file.Close(); err != nil {
		panic(err)
	}
}
