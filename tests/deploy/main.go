// Command check validates files of deploy/ with the types of the software that reads them:
//
//	check compose FILE...    merges them with Compose's own loader, and prints the result as JSON
//	check dockerfile FILE... parses each with BuildKit's parser and linter
//	check kubernetes < YAML  decodes each document strictly into the API's type
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: check compose|dockerfile|kubernetes [FILE...]")
	}
	switch what, files := args[0], args[1:]; what {
	case "compose":
		return compose(files)
	case "dockerfile":
		var wrong []error
		for _, file := range files {
			if err := dockerfile(file); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %w", file, err))
			}
		}
		return errors.Join(wrong...)
	case "kubernetes":
		return kubernetes(os.Stdin)
	default:
		return fmt.Errorf("there is no check for %s", what)
	}
}

func compose(files []string) error {
	options, err := cli.NewProjectOptions(files, cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	merged, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(merged)
	return err
}

func dockerfile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	parsed, err := parser.Parse(file)
	if err != nil {
		return err
	}
	var found []string
	for _, warning := range parsed.Warnings {
		found = append(found, warning.Short)
	}
	warn := func(rule, _, _, message string, _ []parser.Range) {
		found = append(found, rule+": "+message)
	}
	stages, _, err := instructions.Parse(parsed.AST, linter.New(&linter.Config{Warn: warn}))
	if err != nil {
		return err
	}
	if len(stages) == 0 {
		return errors.New("no stages")
	}
	if len(found) > 0 {
		return errors.New(strings.Join(found, "; "))
	}
	return nil
}

func kubernetes(from io.Reader) error {
	reader := yaml.NewYAMLReader(bufio.NewReader(from))
	count := 0
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if kind, err := decode(document); err != nil {
			return fmt.Errorf("%w in:\n%s", err, document)
		} else if kind != "" {
			fmt.Println(kind)
			count++
		}
	}
	if count == 0 {
		return errors.New("no documents")
	}
	return nil
}

// Decodes a document as the API server does, which is case-sensitive. Returns its kind and name.
func decode(document []byte) (string, error) {
	if onlyComments(document) {
		return "", nil
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict)
	object, kind, err := strict.UniversalDeserializer().Decode(document, nil, nil)
	if err != nil {
		return "", err
	}
	named, err := meta.Accessor(object)
	if err != nil {
		return "", err
	}
	return kind.Kind + " " + named.GetName(), nil
}

func onlyComments(document []byte) bool {
	for _, line := range strings.Split(string(document), "\n") {
		line = strings.TrimSpace(line)
		if line != "" && line != "---" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}
