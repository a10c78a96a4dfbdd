// SPDX-License-Identifier: Apache-2.0

// Command pitwall-ledger checks a ledger of optimization signals: that its records follow one another and that none was changed.
//
//	pitwall-ledger verify http://localhost:8800      the ledger of a running collector
//	pitwall-ledger verify signals.jsonl              a copy: what a file sink wrote, or a receiver kept, one record a line
//	pitwall-ledger verify -head HASH -               standard input, which must end with the record of that hash
//
// It ends with 0 when the ledger is whole, with 1 when it is broken, with 2 when it could not be read.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	ledger "github.com/pitwall-io/pitwall/internal/signal"
)

const (
	exitWhole  = 0
	exitBroken = 1
	exitUnread = 2
)

// page is how many records are asked for at once; progressEvery is how often a slow run says how far it is.
const (
	page          = 1000
	progressEvery = 2 * time.Second
	maxAnswer     = page*ledger.MaxBytes + 1<<20
)

var errUnread = errors.New("cannot be read")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, in io.Reader, out, complain io.Writer) int {
	flags := flag.NewFlagSet("pitwall-ledger verify", flag.ContinueOnError)
	flags.SetOutput(complain)
	head := flags.String("head", "", "hash that the last record must have, for instance the audit.hash of the last signal a receiver got")
	header := flags.String("header", "", "header of the requests, as in 'Authorization: Bearer …'; @FILE reads it from a file")
	flags.Usage = func() {
		fmt.Fprintln(complain, "usage: pitwall-ledger verify [-head HASH] [-header LINE] FILE | - | URL")
		flags.PrintDefaults()
	}
	if len(args) == 0 || args[0] != "verify" || flags.Parse(args[1:]) != nil || flags.NArg() != 1 {
		flags.Usage()
		return exitUnread
	}
	source := flags.Arg(0)
	v := &ledger.Verifier{}
	err := verify(ctx, v, source, *header, in, complain)
	if err == nil && *head != "" && v.Head().Hash != *head {
		err = fmt.Errorf("the last record has the hash %s, not %s", v.Head().Hash, *head)
	}
	switch {
	case errors.Is(err, errUnread):
		fmt.Fprintln(complain, err)
		return exitUnread
	case err != nil:
		fmt.Fprintf(complain, "%s: %v\n%d records before it are whole\n", source, err, v.Records())
		return exitBroken
	case v.Records() == 0:
		fmt.Fprintf(out, "%s: no records\n", source)
	default:
		fmt.Fprintf(out, "%s: records %d to %d follow one another and are unchanged; the last has the hash %s\n", source, v.First(), v.Head().Seq, v.Head().Hash)
	}
	return exitWhole
}

func verify(ctx context.Context, v *ledger.Verifier, source, header string, in io.Reader, complain io.Writer) error {
	if target, err := url.Parse(source); err == nil && (target.Scheme == "http" || target.Scheme == "https") {
		return verifyAPI(ctx, v, target, header, complain)
	}
	if source != "-" {
		file, err := os.Open(filepath.Clean(source))
		if err != nil {
			return fmt.Errorf("%s %w: %w", source, errUnread, err)
		}
		defer file.Close()
		in = file
	}
	return v.ReadLines(bufio.NewReaderSize(in, 1<<20))
}

// answer is a page of the ledger as the API gives it.
type answer struct {
	Schema  string            `json:"schema"`
	First   uint64            `json:"first"`
	Last    uint64            `json:"last"`
	Hash    string            `json:"hash"`
	Records []json.RawMessage `json:"records"`
	Error   string            `json:"error"`
}

// verifyAPI pages through the ledger of a running collector up to the record that was the last when it began.
func verifyAPI(ctx context.Context, v *ledger.Verifier, base *url.URL, header string, complain io.Writer) error {
	said := time.Now()
	for from, last := uint64(1), uint64(0); last == 0 || from <= last; from = v.Head().Seq + 1 {
		a, err := ask(ctx, base, header, from)
		if err != nil {
			return fmt.Errorf("%s %w: %w", base.Redacted(), errUnread, err)
		}
		if last == 0 {
			last = a.Last
		}
		for _, record := range a.Records {
			if err := v.Add(record); err != nil {
				return err
			}
		}
		if len(a.Records) == 0 {
			if a.Last >= from && a.Last >= a.First {
				return fmt.Errorf("%s %w: it says it has record %d and does not give it", base.Redacted(), errUnread, max(from, a.First))
			}
			return nil
		}
		if v.Head().Seq == a.Last && v.Head().Hash != a.Hash {
			return fmt.Errorf("record %d is not the one that the ledger says is its last", a.Last)
		}
		if time.Since(said) > progressEvery {
			said = time.Now()
			fmt.Fprintf(complain, "%d of %d records\n", v.Head().Seq, last)
		}
	}
	return nil
}

func ask(ctx context.Context, base *url.URL, header string, from uint64) (answer, error) {
	target := base.JoinPath("/api/v1/ledger")
	target.RawQuery = url.Values{"from": {strconv.FormatUint(from, 10)}, "limit": {strconv.Itoa(page)}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if err := setHeader(req.Header, header); err != nil {
		return answer{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, err
	}
	var a answer
	err = json.Unmarshal(data, &a)
	switch {
	case resp.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("it answers %s %s", resp.Status, a.Error)
	case err != nil:
		return answer{}, err
	case a.Schema != "pitwall.ledger/v1":
		return answer{}, fmt.Errorf("the answer's schema is %q, not pitwall.ledger/v1", a.Schema)
	}
	return a, nil
}

func setHeader(h http.Header, line string) error {
	if path, ok := strings.CutPrefix(line, "@"); ok {
		content, err := os.ReadFile(filepath.Clean(path))
		if err != nil {
			return err
		}
		line = strings.TrimSpace(string(content))
	}
	if line == "" {
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return errors.New("header must be NAME: VALUE") // which may be a secret, so it is not repeated
	}
	h.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}
