// SPDX-License-Identifier: Apache-2.0

package cond

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/cost"

	"github.com/sallyport-dev/sallyport/pipeline"
)

// Limits of one expression: its length in bytes, how deep it nests, and what evaluating it may cost in CEL's units, of which
// one is a step or the look at ten bytes of text.
const (
	maxLength = 4 << 10
	maxDepth  = 32
	maxCost   = 1_000_000
)

// Sizes that the estimate takes for granted; the count at run time takes the real ones.
const (
	textSize  = 32 << 10
	wordSize  = 512
	partSize  = 8 << 10 // of each of step.texts
	listSize  = 64
	argsItems = 256
)

// variables of the environment. docs/policy.md describes them.
var variables = []cel.EnvOption{
	cel.Variable("principal.spiffe", cel.StringType),
	cel.Variable("principal.user", cel.StringType),
	cel.Variable("principal.groups", cel.ListType(cel.StringType)),
	cel.Variable("workload.unit", cel.StringType),
	cel.Variable("workload.cgroup", cel.StringType),
	cel.Variable("workload.container", cel.StringType),
	cel.Variable("workload.pod", cel.StringType),
	cel.Variable("workload.namespace", cel.StringType),
	cel.Variable("workload.serviceAccount", cel.StringType),
	cel.Variable("workload.exe", cel.StringType),
	cel.Variable("workload.uid", cel.IntType),
	cel.Variable("workload.labels", cel.MapType(cel.StringType, cel.StringType)),
	cel.Variable("endpoint.name", cel.StringType),
	cel.Variable("endpoint.host", cel.StringType),
	cel.Variable("endpoint.protocol", cel.StringType),
	cel.Variable("endpoint.port", cel.IntType),
	cel.Variable("call.operation", cel.StringType),
	cel.Variable("call.model", cel.StringType),
	cel.Variable("call.stream", cel.BoolType),
	cel.Variable("call.maxTokens", cel.IntType),
	cel.Variable("step.kind", cel.StringType),
	cel.Variable("step.name", cel.StringType),
	cel.Variable("step.text", cel.StringType),
	cel.Variable("step.texts", cel.ListType(cel.StringType)),
	cel.Variable("step.args", cel.DynType),
	cel.Variable("step.byProvider", cel.BoolType),
	cel.Variable("now", cel.TimestampType),
}

// Env compiles expressions.
type Env struct{ env *cel.Env }

// New makes an environment. It takes some milliseconds.
func New() (*Env, error) {
	opts := append([]cel.EnvOption{
		cel.ClearMacros(), cel.Macros(cel.HasMacro, cel.AllMacro, cel.ExistsMacro, cel.ExistsOneMacro),
		cel.ParserExpressionSizeLimit(maxLength), cel.ParserRecursionLimit(maxDepth), cel.ParserErrorRecoveryLimit(4),
		cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true), cel.RegexProgramSizeLimit(2000),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(),
			cel.ValidateComprehensionNestingLimit(2)),
	}, variables...)
	env, err := cel.NewEnv(opts...)
	if err != nil {
		return nil, fmt.Errorf("making the environment of conditions: %w", err)
	}
	return &Env{env}, nil
}

// Program is a compiled condition, safe for concurrent use.
type Program struct{ prg cel.Program }

// Compile fails with an error that says what is wrong in the words of CEL, on one line.
func (e *Env) Compile(expr string) (*Program, error) {
	if len(expr) > maxLength {
		return nil, fmt.Errorf("longer than %d bytes", maxLength)
	}
	ast, issues := e.env.Compile(expr)
	if issues.Err() != nil {
		var all []string
		for _, i := range issues.Errors() {
			all = append(all, fmt.Sprintf("%s, at column %d", i.Message, i.Location.Column()+1))
		}
		return nil, errors.New(strings.Join(strings.Fields(strings.Join(all[:min(len(all), 3)], "; ")), " "))
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("it gives %s, not yes or no (bool)", ast.OutputType())
	}
	est, err := e.env.EstimateCost(ast, sizes{})
	if err != nil {
		return nil, fmt.Errorf("its cost cannot be estimated: %w", err)
	}
	if est.Max > maxCost {
		return nil, fmt.Errorf("it may cost too much (%d, at most %d): fewer all and exists one in the other, or over smaller lists", est.Max, uint64(maxCost))
	}
	prg, err := e.env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	return &Program{prg}, nil
}

// Eval says yes or no. An error means that it could not be told: the caller takes what is safe.
func (p *Program) Eval(in *Input) (yes bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			yes, err = false, errors.New("the condition failed")
		}
	}()
	out, _, err := p.prg.Eval(in)
	if err != nil {
		return false, err
	}
	yes, ok := out.Value().(bool)
	if !ok {
		return false, errors.New("the condition gave no bool")
	}
	return yes, nil
}

// sizes are what the estimate expects of variables.
type sizes struct{}

func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	path := n.Path()
	if len(path) == 0 {
		return nil
	}
	most := uint64(wordSize)
	switch name := path[0]; {
	case name == "step.text":
		most = textSize
	case name == "step.texts" && len(path) > 1:
		most = partSize
	case name == "step.args":
		most = argsItems
		if n.Type() != nil && n.Type().IsExactType(cel.StringType) {
			most = textSize
		}
	case len(path) == 1 && (name == "step.texts" || name == "principal.groups" || name == "workload.labels"):
		most = listSize
	}
	return &cost.SizeEstimate{Max: most}
}

// Input is what a condition can ask about. It is for one decision, in one goroutine.
type Input struct {
	Meta  *pipeline.Meta
	Call  *pipeline.Call
	Step  *pipeline.Step // may be nil
	Now   time.Time
	Texts func() ([]string, error) // every reading of the step's text and arguments; may be nil

	args   any
	parsed bool
	bad    error
	texts  []string
}

// Parent implements cel.Activation.
func (in *Input) Parent() cel.Activation { return nil }

// ResolveName implements cel.Activation.
func (in *Input) ResolveName(name string) (any, bool) {
	m, c := in.Meta, in.Call
	switch name {
	case "principal.spiffe":
		return m.Principal.SPIFFEID, true
	case "principal.user":
		return m.Principal.User, true
	case "principal.groups":
		return m.Principal.Groups, true
	case "workload.unit":
		return m.Workload.Unit, true
	case "workload.cgroup":
		return m.Workload.Cgroup, true
	case "workload.container":
		return m.Workload.Container, true
	case "workload.pod":
		return m.Workload.Pod, true
	case "workload.namespace":
		return m.Workload.Namespace, true
	case "workload.serviceAccount":
		return m.Workload.ServiceAccount, true
	case "workload.exe":
		return m.Workload.Exe, true
	case "workload.uid":
		return int64(m.Workload.UID), true
	case "workload.labels":
		if m.Workload.Labels == nil {
			return map[string]string{}, true
		}
		return m.Workload.Labels, true
	case "endpoint.name":
		return m.Endpoint.Name, true
	case "endpoint.host":
		return m.Endpoint.Host, true
	case "endpoint.protocol":
		return m.Endpoint.Protocol, true
	case "endpoint.port":
		return int64(m.Endpoint.Port), true
	case "call.operation":
		return c.Operation, true
	case "call.model":
		return c.Model, true
	case "call.stream":
		return c.Stream, true
	case "call.maxTokens":
		return c.MaxTokens, true
	case "now":
		return in.Now.UTC(), true
	}
	return in.step(name)
}

func (in *Input) step(name string) (any, bool) {
	s := in.Step
	if s == nil {
		s = &pipeline.Step{}
	}
	switch name {
	case "step.kind":
		return s.Kind, true
	case "step.name":
		return s.Name, true
	case "step.text":
		return s.Text, true
	case "step.texts":
		if in.texts == nil && in.Texts != nil {
			texts, err := in.Texts()
			if err != nil {
				return nil, false // as for step.args
			}
			in.texts = texts
		}
		return in.texts, true
	case "step.byProvider":
		return s.ByProvider, true
	case "step.args":
		if !in.parsed {
			in.parsed = true
			in.args, in.bad = parseArgs(s.Args)
		}
		if in.bad != nil {
			return nil, false // the condition fails, which is never a yes for a grant nor a no for a guardrail
		}
		return in.args, true
	}
	return nil, false
}
