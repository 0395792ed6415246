// A participant that joins, publishes random audio and video, subscribes to all tracks, and leaves when its input
// ends. The lines `mute` and `unmute` on its input mute and unmute the audio. With -voice its audio is silence,
// and a line `speak 800` makes it a tone for 800 ms.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sync/atomic"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

type noise struct{ lksdk.BaseSampleProvider }

func (*noise) NextSample(context.Context) (media.Sample, error) {
	data := make([]byte, 80)
	rand.Read(data)
	// Opus: one frame of 20 ms, mono (RFC 6716, 3.1).
	data[0] = 0x78
	return media.Sample{Data: data, Duration: 20 * time.Millisecond}, nil
}

// Opus frames of 20 ms, which libopus made: of digital silence, and of a tone of 300 Hz. Repeated, the second is a
// tone of which a quarter of the full scale is reached within 120 ms.
var (
	silence = []byte{0xf8, 0xff, 0xfe}
	tone    = []byte{
		0x08, 0xa1, 0x2e, 0x16, 0x7c, 0x21, 0xa3, 0x9b, 0xca, 0x8c, 0x91, 0x2a, 0x0d, 0xba, 0x03, 0x09, 0x3e, 0x3d,
		0x9e, 0x40,
	}
)

type voice struct {
	lksdk.BaseSampleProvider
	// How many frames of the tone are left.
	frames atomic.Int64
}

func (v *voice) NextSample(context.Context) (media.Sample, error) {
	data := silence
	if v.frames.Load() > 0 {
		v.frames.Add(-1)
		data = tone
	}
	return media.Sample{Data: data, Duration: 20 * time.Millisecond}, nil
}

const width, height = 320, 180

// 15 frames a second, a key frame each second.
type snow struct {
	lksdk.BaseSampleProvider
	frames int
}

func (s *snow) NextSample(context.Context) (media.Sample, error) {
	data := make([]byte, 1500)
	rand.Read(data)
	// VP8: the header of a key frame (RFC 6386, 9.1); in other frames the lowest bit is set.
	if s.frames%15 == 0 {
		copy(data, []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, width & 0xff, width >> 8, height & 0xff, height >> 8})
	} else {
		data[0] |= 1
	}
	s.frames++
	return media.Sample{Data: data, Duration: time.Second / 15}, nil
}

func publish(
	room *lksdk.Room, codec webrtc.RTPCodecCapability, media lksdk.SampleProvider,
	options lksdk.TrackPublicationOptions,
) error {
	track, err := lksdk.NewLocalTrack(codec)
	if err != nil {
		return err
	}
	if err := track.StartWrite(media, nil); err != nil {
		return err
	}
	_, err = room.LocalParticipant.PublishTrack(track, &options)
	return err
}

func publishAudio(room *lksdk.Room, audio lksdk.SampleProvider) error {
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	options := lksdk.TrackPublicationOptions{Name: "mic", Source: livekit.TrackSource_MICROPHONE}
	return publish(room, codec, audio, options)
}

func publishVideo(room *lksdk.Room) error {
	codec := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	options := lksdk.TrackPublicationOptions{
		Name: "camera", Source: livekit.TrackSource_CAMERA, VideoWidth: width, VideoHeight: height,
	}
	return publish(room, codec, &snow{}, options)
}

// Reads each track, since packets that are not read are not acknowledged.
func read(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
	go func() {
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
		}
	}()
}

// A network that loses every twentieth packet, also when it is sent again.
type lossy struct{ interceptor.NoOp }

func (*lossy) NewInterceptor(string) (interceptor.Interceptor, error) { return &lossy{}, nil }

func (*lossy) BindLocalStream(_ *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	write := func(header *rtp.Header, payload []byte, attributes interceptor.Attributes) (int, error) {
		if header.SequenceNumber%20 == 0 {
			return len(payload), nil
		}
		return next.Write(header, payload, attributes)
	}
	return interceptor.RTPWriterFunc(write)
}

func run() error {
	url := flag.String("url", "", "the server")
	identity := flag.String("identity", "", "the participant's identity")
	room := flag.String("room", "", "the room to join")
	relay := flag.Bool("relay", false, "connect only by a relay, although there is none")
	audio := flag.Bool("publish", false, "publish audio")
	speaks := flag.Bool("voice", false, "publish audio that is silent until a line says `speak`")
	video := flag.Bool("video", false, "publish video")
	loses := flag.Bool("lossy", false, "lose a part of the sent packets")
	parent := flag.String("traceparent", "", "the participant's attribute traceparent")
	flag.Parse()
	info := lksdk.ConnectInfo{
		APIKey: os.Getenv("LIVEKIT_API_KEY"), APISecret: os.Getenv("LIVEKIT_API_SECRET"),
		RoomName: *room, ParticipantIdentity: *identity,
	}
	if *parent != "" {
		info.ParticipantAttributes = map[string]string{"traceparent": *parent}
	}
	var options []lksdk.ConnectOption
	if *relay {
		options = append(options, lksdk.WithICETransportPolicy(webrtc.ICETransportPolicyRelay))
	}
	if *loses {
		// The first interceptor is the last one before the network.
		options = append(options, lksdk.WithInterceptors([]interceptor.Factory{&lossy{}}),
			lksdk.WithIncludeDefaultInterceptors(true))
	}
	callback := lksdk.NewRoomCallback()
	callback.OnTrackSubscribed = read
	joined, err := lksdk.ConnectToRoom(*url, info, callback, options...)
	if err != nil {
		return err
	}
	if *audio {
		if err := publishAudio(joined, &noise{}); err != nil {
			return err
		}
	}
	voice := &voice{}
	if *speaks {
		if err := publishAudio(joined, voice); err != nil {
			return err
		}
	}
	if *video {
		if err := publishVideo(joined); err != nil {
			return err
		}
	}
	fmt.Println("joined")
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		var millis int64
		if n, _ := fmt.Sscanf(input.Text(), "speak %d", &millis); n == 1 {
			voice.frames.Store(millis / 20)
			continue
		}
		// Looked up each time: after a reconnect it is another publication.
		track := joined.LocalParticipant.GetTrackPublication(livekit.TrackSource_MICROPHONE)
		if track, ok := track.(*lksdk.LocalTrackPublication); ok {
			track.SetMuted(input.Text() == "mute")
		}
	}
	joined.Disconnect()
	// Leaves time to send the leave message.
	time.Sleep(300 * time.Millisecond)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}
