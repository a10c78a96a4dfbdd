// SPDX-License-Identifier: Apache-2.0

package costprocessor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// maxFile bounds the files of tables and sheets, which are held in memory.
const maxFile = 256 << 20

var errFileTooLarge = errors.New("larger than 256 MiB")

// sheetFile is a file with a sheet that is read again when it changes.
type sheetFile[S any] struct {
	key       string // of the configuration
	path      string // empty: there is no file
	csv, yaml func(io.Reader) (S, error)
	stamp     fileStamp // of the last attempt; used by the one who reloads
	have      bool      // whether it was ever read
}

// load reads the file if it changed since the last attempt, and says whether it tried. One that vanished is reported once.
func (f *sheetFile[S]) load() (sheet S, tried bool, err error) {
	if f.path == "" {
		return sheet, false, nil
	}
	info, err := os.Stat(f.path)
	if err != nil {
		gone := f.stamp == fileStamp{}
		f.stamp = fileStamp{}
		if gone && f.have {
			return sheet, false, nil
		}
		return sheet, true, fmt.Errorf("%s: %w", f.key, err)
	}
	stamp := fileStamp{info.ModTime(), info.Size()}
	if stamp == f.stamp {
		return sheet, false, nil
	}
	f.stamp = stamp
	if stamp.size > maxFile {
		return sheet, true, fmt.Errorf("%s: %s: %w", f.key, f.path, errFileTooLarge)
	}
	file, err := os.Open(f.path)
	if err != nil {
		return sheet, true, fmt.Errorf("%s: %w", f.key, err)
	}
	read := f.csv
	if ext := strings.ToLower(filepath.Ext(f.path)); ext == ".yaml" || ext == ".yml" {
		read = f.yaml
	}
	sheet, err = read(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return sheet, true, fmt.Errorf("%s: %s: %w", f.key, f.path, err)
	}
	f.have = true
	return sheet, true, nil
}
