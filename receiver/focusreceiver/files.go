// SPDX-License-Identifier: Apache-2.0

package focusreceiver

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pitwall-io/pitwall/internal/cost/focus"
)

// stamp tells whether a file changed.
type stamp struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// found is one file of the directory. Its name is relative to the directory, with slashes, so that a directory may move.
type found struct {
	name  string
	path  string
	stamp stamp
}

// list are the files that match, in the order in which they were last changed.
func list(cfg *Config) ([]found, error) {
	var out []found
	err := filepath.WalkDir(cfg.Directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if path == cfg.Directory {
				return err
			}
			return nil // vanished, or unreadable: the next look tells
		}
		if entry.IsDir() {
			if path != cfg.Directory && (!cfg.Recursive || strings.HasPrefix(entry.Name(), ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.ContainsFunc(cfg.Include, func(pattern string) bool {
			ok, _ := filepath.Match(pattern, entry.Name())
			return ok
		}) {
			return nil
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			return nil //nolint:nilerr // vanished between listing and looking
		}
		name, err := filepath.Rel(cfg.Directory, path)
		if err != nil {
			return err
		}
		out = append(out, found{filepath.ToSlash(name), path, stamp{info.Size(), info.ModTime().UTC()}})
		return nil
	})
	slices.SortFunc(out, func(a, b found) int {
		if c := a.stamp.Modified.Compare(b.stamp.Modified); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return out, err
}

// partNumber is how exports number the parts of one delivery: -00001, _0002, part_0_0001, part-00003-<id>, or twelve digits.
var partNumber = regexp.MustCompile(`(?i)(part[-_]?\d.*|[-_.]0\d{3,5}|^\d{12})$`)

// delivery is what a file is a part of.
func (d Delivery) of(name string) string {
	folder, base := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		folder, base = name[:i+1], name[i+1:]
	}
	switch d {
	case PerFolder:
		return folder
	case PerFile:
		return name
	default:
		stem := base
		for _, ext := range []string{".gz", ".csv", ".parquet", ".snappy", ".zstd"} {
			stem = strings.TrimSuffix(stem, ext)
		}
		return folder + partNumber.ReplaceAllString(stem, "#")
	}
}

// content is what one file turned out to be.
type content struct {
	report   focus.Report
	portion  focus.Portion
	overflow int
}

// readFile reads a whole file, or says why not.
func readFile(path string, cfg *Config) (content, error) {
	file, err := os.Open(path)
	if err != nil {
		return content{}, err
	}
	defer file.Close()
	limit := int64(cfg.MaxFileMiB) << 20
	var src focus.Source
	switch {
	case strings.HasSuffix(path, ".parquet"):
		info, err := file.Stat()
		if err != nil {
			return content{}, err
		}
		if info.Size() > limit {
			return content{}, tooLarge(cfg)
		}
		src, err = focus.OpenParquet(file, info.Size())
		if err != nil {
			return content{}, err
		}
	default:
		reader := io.Reader(file)
		if strings.HasSuffix(path, ".gz") {
			unzip, err := gzip.NewReader(file)
			if err != nil {
				return content{}, gzipError(err)
			}
			defer unzip.Close()
			reader = gzipReader{unzip}
		}
		src, err = focus.OpenCSV(&limited{r: reader, left: limit, cfg: cfg})
		if err != nil {
			return content{}, err
		}
	}
	g := focus.NewGrouper(focus.GroupSettings{Columns: cfg.GroupBy, Interval: cfg.Interval, Spread: cfg.Spread, MaxCells: cfg.MaxCells})
	report, err := focus.ReadAll(src, g.Add)
	if err != nil {
		return content{}, err
	}
	return content{report, g.Portion(), g.Overflowed()}, nil
}

// gzipError tells a file that is cut from one that is no gzip file.
func gzipError(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the gzip stream ends early", focus.ErrIncomplete)
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return &focus.Refused{Line: 1, Column: 1, Reason: err.Error()}
	default:
		return err
	}
}

type gzipReader struct{ r *gzip.Reader }

func (g gzipReader) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = gzipError(err)
	}
	return n, err
}

// limited refuses what is beyond the size limit.
type limited struct {
	r    io.Reader
	left int64
	cfg  *Config
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, tooLarge(l.cfg)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

func tooLarge(cfg *Config) error {
	return &focus.Refused{Line: 1, Column: 1, Reason: fmt.Sprintf("larger than max_file_mib (%d)", cfg.MaxFileMiB)}
}
