// Command driver plays conformance scenarios with this client: commands come on standard input, one JSON object a line,
// and answers go to standard output. See clients/conformance/README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// maxLine is the longest command.
const maxLine = 16 << 20

func main() {
	d := &driver{clients: map[string]*driven{}, permits: map[string]*held{}}
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, maxLine)
	var output sync.Mutex
	answers := json.NewEncoder(os.Stdout)
	var running sync.WaitGroup
	for input.Scan() {
		var command command
		if err := json.Unmarshal(input.Bytes(), &command); err != nil {
			fmt.Fprintln(os.Stderr, "not a command:", err)
			continue
		}
		running.Add(1)
		go func() {
			defer running.Done()
			reply := map[string]any{"id": command.ID}
			if result, err := d.run(&command); err != nil {
				reply["error"] = err.Error()
			} else {
				reply["ok"] = result
			}
			output.Lock()
			defer output.Unlock()
			if err := answers.Encode(reply); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
	d.closeAll()
	running.Wait()
}
