// SPDX-License-Identifier: Apache-2.0

// Command evaluation renders what the tests wrote down as docs/evaluation.md: one table a subject, in the order of first mention.
//
//	go run ./cmd/evaluation -figures .out/figures.jsonl -out ../docs/evaluation.md -machine "2 cores of a shared x86-64 VM"
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/pitwall-io/pitwall/internal/figures"
)

const preamble = `# Evaluation

Every figure on this page was written down by a test or a benchmark of this repository; nothing is entered by hand. ` + "`make prove`" + ` runs
them all in full size and writes the page. It ran on: %s.

What a single component was measured to do, beside its peers, stands on that component's own page.

Tests that replay public recordings need them in ` + "`../shared/data`" + ` (or ` + "`$PITWALL_DATA`" + `); without the recordings their rows are missing.
`

func main() {
	log.SetFlags(0)
	in := flag.String("figures", "", "file of figures as JSON lines")
	out := flag.String("out", "", "the page to write")
	machine := flag.String("machine", "", "what the run ran on, in words")
	flag.Parse()
	if err := run(*in, *out, *machine); err != nil {
		log.Fatal(err)
	}
}

func run(in, out, machine string) error {
	rows, err := read(in)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return fmt.Errorf("%s holds no figure", in)
	}
	return os.WriteFile(filepath.Clean(out), []byte(render(rows, machine)), 0o644) //nolint:gosec // a page of documentation
}

func read(path string) ([]figures.Figure, error) {
	file, err := os.Open(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var rows []figures.Figure
	scanner := bufio.NewScanner(file)
	for line := 1; scanner.Scan(); line++ {
		var f figures.Figure
		if err := json.Unmarshal(scanner.Bytes(), &f); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
		rows = append(rows, f)
	}
	return rows, scanner.Err()
}

// render keeps the last figure of a row that was measured more than once.
func render(rows []figures.Figure, machine string) string {
	type key struct{ table, row string }
	last := map[key]figures.Figure{}
	order := map[string][]string{}
	var tables []string
	for _, f := range rows {
		if _, seen := order[f.Table]; !seen {
			tables = append(tables, f.Table)
		}
		if _, seen := last[key{f.Table, f.Row}]; !seen {
			order[f.Table] = append(order[f.Table], f.Row)
		}
		last[key{f.Table, f.Row}] = f
	}

	var page strings.Builder
	fmt.Fprintf(&page, preamble, machine)
	for _, table := range tables {
		fmt.Fprintf(&page, "\n## %s\n\n| figure | reached | wanted | shown by |\n|---|---|---|---|\n", table)
		for _, row := range order[table] {
			f := last[key{table, row}]
			fmt.Fprintf(&page, "| %s | %s | %s | `%s` |\n", cell(f.Row), cell(f.Reached), cell(f.Wanted), f.Command)
		}
	}
	return page.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
